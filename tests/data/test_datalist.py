# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import logging
import os
import random
import string
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import load_decathlon_datalist, load_decathlon_properties

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.datalist import Cohort, main, read_datalist, split_by_patient, write_datalist
from tests.data.test_checks import MODALITIES, cut, damage_unseen, make_case
from tests.data.test_discovery import NAMES_2023, cases_of, make_msd

ROOT = Path(__file__).parents[2]
REAL_CASES = ROOT.parent / "shared" / "brats_cases"


def make_cohort(folder: Path, cases: int = 5) -> list[Item]:
    return [make_case(folder, f"BraTS2021_{index:05d}") for index in range(cases)]


def name_items(patients: Sequence[int]) -> list[Item]:
    """One item per entry, of the patient with that number."""
    return [
        {"case": f"case{index}", "patient": f"patient{patient}", "layout": "brats2021", "image": ["a", "b", "c", "d"]}
        for index, patient in enumerate(patients)
    ]


# ---- split

patients_of_cases = st.lists(st.integers(0, 12), min_size=2, max_size=40).filter(lambda numbers: len(set(numbers)) > 1)


@settings(deadline=None, max_examples=60)
@given(patients_of_cases, st.floats(0.01, 0.99), st.integers(0, 2**32 - 1), st.randoms())
def test_the_split_is_of_patients(numbers: list[int], fraction: float, seed: int, shuffler: random.Random) -> None:
    items = name_items(numbers)
    training, held_out = split_by_patient(items, held_out_fraction=fraction, seed=seed)
    sides = [{item["patient"] for item in side} for side in (training, held_out)]
    assert sorted(cases_of(training + held_out)) == sorted(cases_of(items))
    assert not sides[0] & sides[1]
    assert all(sides)
    count = len(set(numbers))
    assert len(sides[1]) == min(max(round(fraction * count), 1), count - 1)
    shuffler.shuffle(items)
    assert split_by_patient(items, held_out_fraction=fraction, seed=seed) == (training, held_out)


def test_the_split_follows_its_seed_on_every_machine() -> None:
    sides = [split_by_patient(name_items(range(10)), held_out_fraction=0.3, seed=seed) for seed in (7, 8, 9)]
    assert [(len(training), len(held_out)) for training, held_out in sides] == [(7, 3)] * 3
    assert len({tuple(cases_of(held_out)) for _, held_out in sides}) == 3
    assert cases_of(sides[0][1]) == ["case0", "case5", "case8"]


@pytest.mark.parametrize(
    ("patients", "fraction", "seed", "expected"),
    [
        *[(patients, 0.2, 0, "too small to split") for patients in ([], [3], [3, 3, 3])],
        *[([1, 2, 3], fraction, 0, "held_out_fraction") for fraction in (0.0, 1.0, -0.2, 20, float("nan"))],
        ([1, 2, 3], 0.2, -1, "seed -1"),
    ],
)
def test_impossible_splits(patients: list[int], fraction: float, seed: int, expected: str) -> None:
    with pytest.raises(BundleError, match=expected):
        split_by_patient(name_items(patients), held_out_fraction=fraction, seed=seed)


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
        item = {"case": case, "patient": f"patient {case}", "layout": layout, "label": label}
        items.append(item | {"image": image[0] if layout == "msd" else image})
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
    bare = tuple([{key: item[key] for key in item if key != "label"} for item in side] for side in sides)
    assert read_datalist(path, labels=False) == bare


def test_monai_reads_a_data_list_that_moves_with_its_data(tmp_path: Path) -> None:
    make_cohort(tmp_path / "data", 4)
    path = tmp_path / "data" / "datalist.json"
    cohort = Cohort(str(tmp_path / "data"), held_out_fraction=0.5)
    write_datalist(str(path), cohort.training, cohort.held_out)
    assert str(tmp_path) not in path.read_text()
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = tmp_path / "moved" / "datalist.json"
    found = Cohort(str(tmp_path / "moved"), held_out_fraction=0.5)
    assert read_datalist(str(moved)) == (found.training, found.held_out)
    for section, side in (("training", found.training), ("validation", found.held_out)):
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
    write_datalist(path, [name_items([1])[0] | {"layout": layout}], name_items([2]))
    properties = load_decathlon_properties(path, ["modality", "labels"])
    assert properties["modality"] == dict(zip("0123", modalities))
    tissues = {core: "necrotic and non-enhancing core", oedema: "oedema", enhancing: "enhancing tumour"}
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


# ---- cohort


def test_a_cohort_holds_both_sides(tmp_path: Path) -> None:
    items = make_cohort(tmp_path)
    cohort = Cohort(str(tmp_path), held_out_fraction=0.4, seed=3)
    assert cohort.all == items
    assert (cohort.training, cohort.held_out) == split_by_patient(items, held_out_fraction=0.4, seed=3)
    assert cohort.select("held_out") == cohort.held_out
    assert cohort.select("all") == items
    assert cohort.problems == {}
    cohort.raise_if_problems()
    with pytest.raises(BundleError, match="split training: allowed are all, held_out"):
        cohort.select("training")


@pytest.mark.parametrize("side", ["training", "held_out", "all"])
def test_broken_cases_stop_the_run_by_name(tmp_path: Path, side: str) -> None:
    items = make_cohort(tmp_path, 9)
    os.remove(items[0]["label"])
    for item in items[1:7]:
        cut(item["image"][1], 0.5)
    with pytest.raises(BundleError) as caught:
        getattr(Cohort(str(tmp_path)), side)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("7 of 9 cases cannot be used: correct them, or")
    assert "`--skip_invalid true`" in lines[0]
    assert lines[1].startswith("  BraTS2021_00000: ")
    assert "no seg file" in lines[1]
    assert "BraTS2021_00001_t1ce.nii.gz: cannot be read" in lines[2]
    assert lines[6:] == ["  and 2 more"]


def test_broken_cases_are_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = make_cohort(tmp_path, 10)
    before = Cohort(str(tmp_path), held_out_fraction=0.4)
    cut(before.held_out[0]["image"][0], 0.5)
    os.remove(before.training[0]["image"][2])
    broken = [before.held_out[0]["case"], before.training[0]["case"]]
    with caplog.at_level(logging.WARNING, "scripts.data.datalist"):
        after = Cohort(str(tmp_path), held_out_fraction=0.4, skip_invalid=True)
        assert after.all == [item for item in items if item["case"] not in broken]
    # A bad file must not change who is held out.
    assert after.training == before.training[1:]
    assert after.held_out == before.held_out[1:]
    assert sorted(after.problems) == sorted(broken)
    assert all(any(case in message for message in caplog.messages) for case in broken)
    with pytest.raises(BundleError, match="cases left out: 2") as caught:
        after.raise_if_problems()
    assert all(case in str(caught.value) for case in broken)


def test_each_case_is_checked_once(tmp_path: Path) -> None:
    items = make_cohort(tmp_path)
    cohort = Cohort(str(tmp_path))
    training = cohort.training
    for item in items:
        cut(item["label"], 0.5)
    assert cohort.training == training
    assert cohort.all == items
    assert len(cohort.held_out) == 1


def test_selecting_checks_no_others(tmp_path: Path) -> None:
    make_cohort(tmp_path)
    held_out = Cohort(str(tmp_path)).held_out
    for item in Cohort(str(tmp_path)).training:
        cut(item["label"], 0.5)
    cohort = Cohort(str(tmp_path))
    assert cohort.select("held_out") == held_out
    cohort.raise_if_problems()
    with pytest.raises(BundleError, match="4 of 5 cases"):
        cohort.select("all")


def test_the_cache_dir_outlives_the_cohort(tmp_path: Path) -> None:
    items = make_cohort(tmp_path / "data")
    assert Cohort(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache")).all == items
    damage_unseen(items[0]["label"])
    assert Cohort(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache")).all == items
    with pytest.raises(BundleError, match="1 of 5 cases"):
        _ = Cohort(str(tmp_path / "data"), cache_dir=str(tmp_path / "another")).all


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        ("training", "none of the 2 cases to train with can be used"),
        ("held_out", "none of the 1 cases held out can be used"),
        ("all", "3 of 3 cases cannot be used: none is left"),
    ],
)
def test_a_side_with_no_sound_case_is_refused(tmp_path: Path, side: str, expected: str) -> None:
    make_cohort(tmp_path, 3)
    for item in getattr(Cohort(str(tmp_path)), side):
        cut(item["image"][3], 0.5)
    cohort = Cohort(str(tmp_path), skip_invalid=True)
    with pytest.raises(BundleError, match=expected) as caught:
        getattr(cohort, side)
    assert "_flair.nii.gz" in str(caught.value)


def test_a_single_case_with_a_bad_label_can_be_segmented(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    cut(item.pop("label"), 0.5)
    cohort = Cohort(str(tmp_path / item["case"]), labels=False)
    assert cohort.all == [item]
    with pytest.raises(BundleError, match="too small to split"):
        _ = cohort.training


def test_a_case_without_a_label_may_be_held_out_and_changes_no_split(tmp_path: Path) -> None:
    held_out = make_cohort(tmp_path) and Cohort(str(tmp_path), held_out_fraction=0.4).held_out
    os.remove(held_out[0]["label"])
    found = Cohort(str(tmp_path), labels=None, held_out_fraction=0.4).select("held_out")
    assert cases_of(found) == cases_of(held_out)
    assert [item.get("label") for item in found] == [None, *(item["label"] for item in held_out[1:])]
    entry = {"image": held_out[1]["image"]}
    path = write_json(tmp_path / "list.json", {"training": [], "validation": [entry]})
    assert "label" not in read_datalist(path, labels=None)[1][0]
    with pytest.raises(BundleError, match="has no label"):
        read_datalist(path)


def test_those_besides_are_of_other_patients(tmp_path: Path) -> None:
    make_cohort(tmp_path)
    cohort = Cohort(str(tmp_path))
    assert cohort.besides(cohort.held_out) == cohort.training
    assert cohort.besides([]) == cohort.all


def test_a_cohort_of_a_data_list(tmp_path: Path) -> None:
    items = make_cohort(tmp_path / "data")
    path = str(tmp_path / "datalist.json")
    write_datalist(path, items[:2], items[2:])
    cohort = Cohort("unused", datalist=path)
    assert (cohort.training, cohort.held_out, cohort.all) == (items[:2], items[2:], items)
    assert Cohort("unused").select(path) == items[2:]
    os.remove(items[3]["image"][1])
    with pytest.raises(BundleError, match=r"BraTS2021_00003_t1ce\.nii\.gz: no such file"):
        Cohort("unused").select(path)
    assert Cohort("unused", datalist=path, skip_invalid=True).held_out == [items[2], items[4]]


def test_configs_share_one_cohort(tmp_path: Path) -> None:
    items = make_cohort(tmp_path)
    parser = ConfigParser(
        {
            "cohort": {
                "_target_": "scripts.data.Cohort",
                "dataset_dir": str(tmp_path),
                "held_out_fraction": 0.4,
            },
            "train": {"dataset": {"_target_": "Dataset", "data": "$@cohort.training"}},
            "validate": {"dataset": {"_target_": "Dataset", "data": "$@cohort.select('held_out')"}},
        }
    )
    training, held_out = split_by_patient(items, held_out_fraction=0.4, seed=0)
    assert parser.get_parsed_content("train#dataset").data == training
    assert parser.get_parsed_content("validate#dataset").data == held_out


@pytest.mark.skipif(not REAL_CASES.is_dir(), reason="the real cases are not beside the bundle")
def test_real_cases(tmp_path: Path) -> None:
    cohort = Cohort(str(REAL_CASES), cache_dir=str(tmp_path))
    assert (len(cohort.training), len(cohort.held_out), cohort.problems) == (32, 8, {})
    assert len({item["patient"] for item in cohort.all}) == 40


# ---- command line


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.data.datalist", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def make_flawed(folder: Path) -> None:
    """Writes four cases, one of which, not held out, is broken, and one of MSD."""
    make_cohort(folder, 4)
    make_msd(folder / "Task01_BrainTumour")
    cut(Cohort(str(folder)).training[1]["label"], 0.5)


def test_the_command_writes_a_data_list(tmp_path: Path) -> None:
    make_flawed(tmp_path / "data")
    done = run_command(str(tmp_path / "data"), "--output", str(tmp_path / "out.json"), "--skip_invalid")
    assert done.returncode == 0, done.stderr
    assert "4 cases of 4 patients: brats2021 3, msd 1" in done.stdout
    assert "training 3, held out 1, left out 1" in done.stdout
    cohort = Cohort(str(tmp_path / "data"), skip_invalid=True)
    assert read_datalist(str(tmp_path / "out.json")) == (cohort.training, cohort.held_out)
    assert [f"left out case {case}: " in done.stderr for case in cohort.problems] == [True]


def test_the_command_refuses_broken_cases(tmp_path: Path) -> None:
    make_flawed(tmp_path / "data")
    done = run_command(str(tmp_path / "data"), "--output", str(tmp_path / "out.json"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: 1 of 5 cases cannot be used")
    assert "_seg.nii.gz: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.json").exists()


def test_the_command_takes_the_switch_as_configs_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_flawed(tmp_path / "data")
    arguments = [str(tmp_path / "data"), "--output", str(tmp_path / "out.json"), "--held_out_fraction", "0.5"]
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which main() sets
    monkeypatch.setattr(sys, "argv", ["datalist", *arguments, "--seed", "1", "--skip_invalid", "true"])
    main()
    cohort = Cohort(str(tmp_path / "data"), held_out_fraction=0.5, seed=1, skip_invalid=True)
    assert read_datalist(str(tmp_path / "out.json")) == (cohort.training, cohort.held_out)
    monkeypatch.setattr(sys, "argv", ["datalist", *arguments, "--skip_invalid", "false"])
    with pytest.raises(BundleError, match="1 of 5 cases"):
        main()
