# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import load_decathlon_datalist, load_decathlon_properties

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.cohort import Cohort
from scripts.data.datalist import read_datalist, write_datalist
from tests.data.test_checks import MODALITIES
from tests.data.test_cohort import make_cohort, name_items
from tests.data.test_discovery import NAMES_2023, cases_of

ROOT = Path(__file__).parents[2]
REAL_CASES = ROOT.parent / "shared" / "brats_cases"


# ---- data lists

words = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=12)


@st.composite
def lists_of_items(draw: st.DrawFn) -> tuple[list[Item], list[Item]]:
    items: list[Item] = []
    for case in draw(st.lists(words, min_size=2, max_size=6, unique=True)):
        layout = draw(st.sampled_from(["brats2021", "brats2023", "msd"]))
        names = {"brats2021": MODALITIES, "brats2023": NAMES_2023, "msd": ("image",)}[layout]
        image = [f"/{draw(words)}/{case}-{name}.nii.gz" for name in names]
        label = f"/{draw(words)}/{case}-seg.nii.gz"
        items.append({"case": case, "patient": f"patient {case}", "layout": layout, "image": image, "label": label})
    cut_at = draw(st.integers(1, len(items) - 1))
    return items[:cut_at], items[cut_at:]


@settings(deadline=None, max_examples=40)
@given(lists_of_items())
def test_a_data_list_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, sides: tuple[list[Item], list[Item]]
) -> None:
    path = str(tmp_path_factory.mktemp("lists") / "deep" / "datalist.json")
    write_datalist(path, *sides)
    assert read_datalist(path) == sides
    for item in (*sides[0], *sides[1]):
        del item["label"]
    assert read_datalist(path, labels="ignored") == sides


def test_monai_reads_a_data_list_that_moves_with_its_data(tmp_path: Path) -> None:
    make_cohort(tmp_path / "data", 4)
    path = tmp_path / "data" / "datalist.json"
    cohort = Cohort(str(tmp_path / "data"), held_out_fraction=0.5)
    write_datalist(str(path), cohort.training_cases(), cohort.held_out_cases())
    assert str(tmp_path) not in path.read_text()
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / "datalist.json"
    found = Cohort(str(tmp_path / "moved"), held_out_fraction=0.5)
    assert read_datalist(str(moved)) == (found.training_cases(), found.held_out_cases())
    for section, side in (("training", found.training_cases()), ("validation", found.held_out_cases())):
        listed = load_decathlon_datalist(moved, data_list_key=section)
        assert [(item["image"], item["label"]) for item in listed] == [(item["image"], item["label"]) for item in side]
    properties = load_decathlon_properties(moved, ["name", "description", "numTraining", "numValidation"])
    assert (properties["numTraining"], properties["numValidation"]) == (2, 2)


@pytest.mark.parametrize(
    ("layout", "modalities", "core", "oedema", "enhancing"),
    [
        ("brats2021", ["T1", "T1ce", "T2", "FLAIR"], "1", "2", "4"),
        ("brats2023", ["T1", "T1ce", "T2", "FLAIR"], "1", "2", "3"),
        ("msd", ["FLAIR", "T1", "T1ce", "T2"], "2", "1", "3"),
    ],
)
def test_a_data_list_tells_its_values(
    tmp_path: Path, layout: str, modalities: list[str], core: str, oedema: str, enhancing: str
) -> None:
    path = str(tmp_path / "datalist.json")
    first, second = name_items([1, 2])
    first["layout"] = layout
    write_datalist(path, [first], [second])
    properties = load_decathlon_properties(path, ["modality", "labels"])
    assert properties["modality"] == dict(zip("0123", modalities))
    tissues = {core: "necrotic or non-enhancing core", oedema: "oedema", enhancing: "enhancing tumour"}
    assert properties["labels"] == {"0": "background"} | tissues


def write_json(path: Path, content: object) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def entry_of(case: str, names: Sequence[str] = MODALITIES, joint: str = "_") -> dict[str, object]:
    stem = f"{case}/{case}{joint}"
    return {"image": [f"{stem}{name}.nii.gz" for name in names], "label": f"{stem}seg.nii.gz"}


def test_data_lists_of_others(tmp_path: Path) -> None:
    shuffled = ("flair", "t1ce", "t1", "t2")
    training = [
        entry_of("Brats18_TCIA01_201_1", shuffled) | {"fold": 1},
        entry_of("BraTS-GLI-00001-000", NAMES_2023, "-"),
        {"image": "imagesTr/BRATS_001.nii.gz", "label": "labelsTr/BRATS_001.nii.gz"},
        {"image": ["a/first.nii", "a/second.nii", "a/third.nii", "a/fourth.nii"], "label": "a/truth.nii"},
        {"image": [f"s7/{name}" for name in MODALITIES], "label": "s7/seg.nii", "layout": "brats2023"},
    ]
    path = write_json(tmp_path / "theirs.json", {"training": training, "validation": [entry_of("BraTS2021_00001")]})
    read, held_out = read_datalist(path)
    assert [(item["case"], item["patient"], item["layout"]) for item in read] == [
        ("Brats18_TCIA01_201_1", "Brats18_TCIA01_201", "brats2021"),
        ("BraTS-GLI-00001-000", "BraTS-GLI-00001", "brats2023"),
        ("BRATS_001", "BRATS_001", "msd"),
        ("first", "first", "brats2021"),
        ("s7", "s7", "brats2023"),
    ]
    folder = tmp_path / "Brats18_TCIA01_201_1"
    assert read[0]["image"] == [str(folder / f"Brats18_TCIA01_201_1_{name}.nii.gz") for name in MODALITIES]
    assert read[3]["image"] == [str(tmp_path / "a" / f"{name}.nii") for name in ("first", "second", "third", "fourth")]
    assert "fold" not in read[0]
    assert cases_of(held_out) == ["BraTS2021_00001"]


GOOD = entry_of("BraTS2021_00001")
OTHER = entry_of("BraTS2021_00002")
SAME_PATIENT = [entry_of(f"Brats18_TCIA01_201_{time}") for time in (1, 2)]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"training": [GOOD]}, "validation not specified"),
        ({"validation": [GOOD]}, "training not specified"),
        ([GOOD], "not specified"),
        (5, "int"),
        ({"training": [GOOD], "validation": []}, "validation is empty"),
        ({"training": [GOOD], "validation": None}, "NoneType"),
        ({"training": [GOOD], "validation": ["BRATS_001.nii.gz"]}, "must be a dict"),
        ({"training": [GOOD], "validation": [{"label": "x.nii"}]}, "image is None"),
        ({"training": [GOOD], "validation": [{**OTHER, "image": ["a", "b"]}]}, "four paths"),
        ({"training": [GOOD], "validation": [{**OTHER, "layout": "brats1999"}]}, "brats1999"),
        ({"training": [GOOD], "validation": [{"image": OTHER["image"]}]}, "no label"),
        ({"training": [{**GOOD, "case": 3}], "validation": [OTHER]}, "int"),
        ({"training": [GOOD], "validation": [OTHER, OTHER]}, "case BraTS2021_00002 is listed twice"),
        (
            {"training": [GOOD, SAME_PATIENT[0]], "validation": [SAME_PATIENT[1]]},
            "patient Brats18_TCIA01_201 is on both sides",
        ),
    ],
)
def test_malformed_data_lists(tmp_path: Path, content: object, expected: str) -> None:
    path = write_json(tmp_path / "datalist.json", content)
    with pytest.raises(BundleError, match=expected) as caught:
        read_datalist(path)
    assert path in str(caught.value)


def test_data_lists_that_are_no_json(tmp_path: Path) -> None:
    (tmp_path / "datalist.json").write_text("{not JSON")
    for name, expected in (("datalist.json", "Expecting"), ("nowhere.json", "does not exist"), ("", "does not exist")):
        with pytest.raises(BundleError, match=expected):
            read_datalist(str(tmp_path / name))


def test_a_data_list_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="cannot be written"):
        write_datalist(str(tmp_path / "file" / "datalist.json"), name_items([1]), name_items([2]))
