# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

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

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser
from monai.data import load_decathlon_datalist, load_decathlon_properties

from scripts.checks import Item
from scripts.datalist import Cohort, find_cases, main, patient_of, read_datalist, split_by_patient, write_datalist
from scripts.errors import BundleError
from tests.test_checks import MODALITIES, cut, make_case, make_label, make_scan, save, save_dicom

ROOT = Path(__file__).parents[1]
REAL_CASES = ROOT.parent / "shared" / "brats_cases"
NAMES_2023 = ("t1n", "t1c", "t2w", "t2f")


def make_msd(folder: Path, case: str = "BRATS_001", subset: str = "Tr") -> None:
    scans = np.stack([make_scan(seed) for seed in range(4)], axis=3)
    save(folder / f"images{subset}" / f"{case}.nii.gz", scans)
    if subset == "Tr":
        save(folder / "labelsTr" / f"{case}.nii.gz", make_label((1, 2, 3)))
    (folder / f"images{subset}" / f"._{case}.nii.gz").write_bytes(b"left by macOS")


def make_cohort(folder: Path, cases: int = 5) -> list[Item]:
    return [make_case(folder, f"BraTS2021_{index:05d}") for index in range(cases)]


def touch(folder: Path, names: Sequence[str]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [str(folder / name) for name in names]


def name_items(patients: Sequence[int]) -> list[Item]:
    """One item per entry, of the patient with that number."""
    return [
        {"case": f"case{index}", "patient": f"patient{patient}", "layout": "brats2021", "image": ["a", "b", "c", "d"]}
        for index, patient in enumerate(patients)
    ]


def cases_of(items: Sequence[Item]) -> list[str]:
    return [item["case"] for item in items]


# ---- discovery


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize(
    ("layout", "case", "names", "joint"),
    [
        ("brats2021", "BraTS2021_00001", MODALITIES, "_"),
        ("brats2021", "Brats18_TCIA01_201_1", MODALITIES, "_"),
        ("brats2023", "BraTS-GLI-00001-000", NAMES_2023, "-"),
    ],
)
def test_layouts_of_brats(
    tmp_path: Path, layout: str, case: str, names: Sequence[str], joint: str, suffix: str
) -> None:
    paths = touch(tmp_path / case, [f"{case}{joint}{name}{suffix}" for name in (*names, "seg")])
    item = {"case": case, "patient": patient_of(case), "layout": layout, "image": paths[:4], "label": paths[4]}
    assert find_cases(str(tmp_path)) == ([item], {})
    assert find_cases(str(tmp_path / case)) == ([item], {})
    del item["label"]
    assert find_cases(str(tmp_path), labels=False) == ([item], {})


def test_layout_of_msd(tmp_path: Path) -> None:
    make_msd(tmp_path)
    make_msd(tmp_path, "BRATS_485", subset="Ts")
    image, label = (str(tmp_path / folder / "BRATS_001.nii.gz") for folder in ("imagesTr", "labelsTr"))
    item = {"case": "BRATS_001", "patient": "BRATS_001", "layout": "msd", "image": image, "label": label}
    assert find_cases(str(tmp_path)) == ([item], {})
    items, problems = find_cases(str(tmp_path), labels=False)
    assert cases_of(items) == ["BRATS_001", "BRATS_485"]
    assert problems == {}
    assert Cohort(str(tmp_path)).all == [item]


@pytest.mark.parametrize("names", [MODALITIES, ("T1", "T1CE", "T2", "FLAIR"), NAMES_2023])
def test_layout_of_dicom(tmp_path: Path, names: Sequence[str]) -> None:
    image = [save_dicom(tmp_path / "case7" / name, make_scan(index), index) for index, name in enumerate(names)]
    items, problems = find_cases(str(tmp_path), labels=False)
    layout = "brats2023" if names == NAMES_2023 else "brats2021"
    assert items == [{"case": "case7", "patient": "case7", "layout": layout, "image": image}]
    assert problems == {}
    assert "no seg" in find_cases(str(tmp_path))[1]["case7"]

    values = (1, 2, 3) if layout == "brats2023" else (1, 2, 4)
    label = save(tmp_path / "case7" / "case7_seg.nii.gz", make_label(values), np.diag([-1.0, -1, 1, 1]))
    assert Cohort(str(tmp_path / "case7")).all == [items[0] | {"label": label}]


def test_cases_lie_anywhere_below_in_any_mixture(tmp_path: Path) -> None:
    touch(tmp_path / "HGG" / "b", [f"b_{name}.nii.gz" for name in (*MODALITIES, "seg")])
    touch(tmp_path / "LGG" / "x" / "a", [f"a-{name}.nii.gz" for name in (*NAMES_2023, "seg")])
    touch(tmp_path / "flat", [f"{case}_{name}.nii" for case in "cd" for name in (*MODALITIES, "seg")])
    touch(tmp_path / "e", [f"{name}.nii.gz" for name in (*MODALITIES, "seg")])
    touch(tmp_path / ".hidden" / "f", [f"f_{name}.nii.gz" for name in (*MODALITIES, "seg")])
    touch(tmp_path, ["survival.csv", "._b_t1.nii.gz", "b_t1_brain_mask.nii.gz"])
    (tmp_path / "g").symlink_to(tmp_path / "HGG", target_is_directory=True)
    items, problems = find_cases(str(tmp_path))
    assert cases_of(items) == ["a", "b", "c", "d", "e"]
    assert list(problems) == ["b"]
    assert "is there twice" in problems["b"]


def test_relative_folders_give_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_cohort(tmp_path / "data", 1)
    monkeypatch.chdir(tmp_path)
    assert find_cases("data") == find_cases(str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("missing", "expected"), [(["t1ce"], "no t1ce file"), (["seg"], "no seg file"), (["t2", "seg"], "no t2 and no seg")]
)
def test_incomplete_cases_are_told(tmp_path: Path, missing: list[str], expected: str) -> None:
    make_cohort(tmp_path, 2)
    for name in missing:
        (tmp_path / "BraTS2021_00001" / f"BraTS2021_00001_{name}.nii.gz").unlink()
    items, problems = find_cases(str(tmp_path))
    assert cases_of(items) == ["BraTS2021_00000", "BraTS2021_00001"]
    assert list(problems) == ["BraTS2021_00001"]
    assert expected in problems["BraTS2021_00001"]
    assert str(tmp_path / "BraTS2021_00001") in problems["BraTS2021_00001"]


def test_an_msd_image_without_label_is_told(tmp_path: Path) -> None:
    make_msd(tmp_path)
    (tmp_path / "labelsTr" / "BRATS_001.nii.gz").unlink()
    assert "no seg" in find_cases(str(tmp_path))[1]["BRATS_001"]


def test_a_file_in_two_formats_is_told(tmp_path: Path) -> None:
    make_cohort(tmp_path, 1)
    touch(tmp_path / "BraTS2021_00000", ["BraTS2021_00000_t2.nii"])
    fault = find_cases(str(tmp_path))[1]["BraTS2021_00000"]
    assert "_t2.nii:" in fault or "_t2.nii;" in fault
    assert "_t2.nii.gz" in fault


def test_folders_without_cases(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: no such folder"):
        find_cases(str(tmp_path / "nowhere"))
    touch(tmp_path, ["scan.nii.gz", "survival.csv"])
    with pytest.raises(BundleError, match=r"no case found; looked for <case>_\{t1,t1ce,t2,flair\}.nii.gz"):
        find_cases(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_that_may_not_be_read(tmp_path: Path) -> None:
    make_cohort(tmp_path, 2)
    (tmp_path / "BraTS2021_00001").chmod(0)
    try:
        with pytest.raises(BundleError, match="BraTS2021_00001: cannot be read"):
            find_cases(str(tmp_path))
    finally:
        (tmp_path / "BraTS2021_00001").chmod(0o700)


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("Brats17_2013_0_1", "Brats17_2013_0"),
        ("Brats18_CBICA_ABM_1", "Brats18_CBICA_ABM"),
        ("BraTS19_TCIA01_201_12", "BraTS19_TCIA01_201"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("BraTS2021_00006", "BraTS2021_00006"),
        ("BraTS-GLI-00000-000", "BraTS-GLI-00000"),
        ("BraTS-GLI-00000-101", "BraTS-GLI-00000"),
        ("BraTS-MET-00002-000", "BraTS-MET-00002"),
        ("BRATS_001", "BRATS_001"),
        ("phantom_003", "phantom_003"),
    ],
)
def test_patients(case: str, patient: str) -> None:
    assert patient_of(case) == patient


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


def test_the_split_follows_its_seed() -> None:
    items = name_items(range(40))
    sides = [split_by_patient(items, seed=seed) for seed in range(5)]
    assert [(len(training), len(held_out)) for training, held_out in sides] == [(32, 8)] * 5
    assert len({tuple(cases_of(held_out)) for _, held_out in sides}) == 5


def test_the_split_is_the_same_on_every_machine() -> None:
    held_out = split_by_patient(name_items(range(10)), held_out_fraction=0.3, seed=7)[1]
    assert cases_of(held_out) == ["case0", "case5", "case8"]


@pytest.mark.parametrize("patients", [[], [3], [3, 3, 3]])
def test_one_patient_is_too_few(patients: list[int]) -> None:
    with pytest.raises(BundleError, match="too small to split"):
        split_by_patient(name_items(patients))


@pytest.mark.parametrize(("fraction", "seed"), [(0.0, 0), (1.0, 0), (-0.2, 0), (20, 0), (float("nan"), 0), (0.2, -1)])
def test_impossible_splits(fraction: float, seed: int) -> None:
    with pytest.raises(BundleError, match="held_out_fraction"):
        split_by_patient(name_items([1, 2, 3]), held_out_fraction=fraction, seed=seed)


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
    properties = load_decathlon_properties(moved, ["name", "description", "modality", "labels", "numTraining"])
    assert properties["modality"] == {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}
    assert properties["labels"]["4"] == "enhancing tumour"
    assert properties["numTraining"] == 2


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


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{not JSON", "Expecting"),
        (json.dumps({"training": [GOOD]}), "validation not specified"),
        (json.dumps({"validation": [GOOD]}), "training not specified"),
        (json.dumps([GOOD]), "not specified"),
        (json.dumps(5), "int"),
        (json.dumps({"training": [GOOD], "validation": []}), "validation is empty"),
        (json.dumps({"training": [GOOD], "validation": None}), "NoneType"),
        (json.dumps({"training": [GOOD], "validation": ["BRATS_001.nii.gz"]}), "must be a dict"),
        (json.dumps({"training": [GOOD], "validation": [{"label": "x.nii"}]}), "image is None"),
        (json.dumps({"training": [GOOD], "validation": [{**OTHER, "image": ["a", "b"]}]}), "four paths"),
        (json.dumps({"training": [GOOD], "validation": [{**OTHER, "layout": "brats1999"}]}), "brats1999"),
        (json.dumps({"training": [GOOD], "validation": [{"image": OTHER["image"]}]}), "no label"),
        (json.dumps({"training": [{**GOOD, "case": 3}], "validation": [OTHER]}), "int"),
        (json.dumps({"training": [GOOD], "validation": [OTHER, OTHER]}), "case BraTS2021_00002 is listed twice"),
    ],
)
def test_malformed_data_lists(tmp_path: Path, content: str, expected: str) -> None:
    path = tmp_path / "datalist.json"
    path.write_text(content)
    with pytest.raises(BundleError, match=expected) as caught:
        read_datalist(str(path))
    assert str(path) in str(caught.value)


def test_data_lists_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(BundleError, match="does not exist"):
            read_datalist(str(path))


def test_a_patient_on_both_sides_is_refused(tmp_path: Path) -> None:
    both = [entry_of(f"Brats18_TCIA01_201_{time}") for time in (1, 2)]
    path = write_json(tmp_path / "leaky.json", {"training": [GOOD, both[0]], "validation": [both[1]]})
    with pytest.raises(BundleError, match="patient Brats18_TCIA01_201 is on both sides"):
        read_datalist(path)


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


def test_broken_cases_stop_the_run_by_name(tmp_path: Path) -> None:
    items = make_cohort(tmp_path, 9)
    for item in items[:6]:
        cut(item["image"][1], 0.5)
    os.remove(items[6]["label"])
    for side in ("training", "held_out", "all"):
        with pytest.raises(BundleError) as caught:
            getattr(Cohort(str(tmp_path)), side)
        lines = str(caught.value).splitlines()
        assert lines[0].startswith("7 of 9 cases cannot be used: correct them, or")
        assert "`--skip_invalid true`" in lines[0]
        assert lines[1].startswith("  BraTS2021_00006: ")
        assert "no seg file" in lines[1]
        assert "BraTS2021_00000_t1ce.nii.gz: cannot be read" in lines[2]
        assert lines[6:] == ["  and 2 more"]


def test_broken_cases_are_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    items = make_cohort(tmp_path, 10)
    before = Cohort(str(tmp_path), held_out_fraction=0.4)
    cut(before.held_out[0]["image"][0], 0.5)
    os.remove(before.training[0]["image"][2])
    broken = [before.held_out[0]["case"], before.training[0]["case"]]
    with caplog.at_level(logging.WARNING, "scripts.datalist"):
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
    path = Path(items[0]["label"])
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert Cohort(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache")).all == items
    with pytest.raises(BundleError, match="1 of 5 cases"):
        _ = Cohort(str(tmp_path / "data"), cache_dir=str(tmp_path / "another")).all


@pytest.mark.parametrize("side", ["training", "held_out"])
def test_a_side_with_no_sound_case_is_refused(tmp_path: Path, side: str) -> None:
    make_cohort(tmp_path, 3)
    for item in getattr(Cohort(str(tmp_path)), side):
        cut(item["image"][3], 0.5)
    cohort = Cohort(str(tmp_path), skip_invalid=True)
    with pytest.raises(BundleError, match=r"none of the \d cases .* can be used") as caught:
        getattr(cohort, side)
    assert "_flair.nii.gz" in str(caught.value)


def test_a_cohort_with_no_sound_case_is_refused(tmp_path: Path) -> None:
    for item in make_cohort(tmp_path, 2):
        cut(item["image"][3], 0.5)
    with pytest.raises(BundleError, match="2 of 2 cases cannot be used: none is left"):
        _ = Cohort(str(tmp_path), skip_invalid=True).all


def test_a_single_case_without_label_can_be_segmented(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    os.remove(item.pop("label"))
    cohort = Cohort(str(tmp_path / item["case"]), labels=False, skip_invalid=True)
    assert cohort.all == [item]
    with pytest.raises(BundleError, match="too small to split"):
        _ = cohort.training


def test_a_bad_label_does_not_hinder_segmenting(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    cut(item["label"], 0.5)
    assert len(Cohort(str(tmp_path), labels=False).all) == 1


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
            "cohort": {"_target_": "scripts.datalist.Cohort", "dataset_dir": str(tmp_path), "held_out_fraction": 0.4},
            "train": {"dataset": {"_target_": "Dataset", "data": "$@cohort.training"}},
            "validate": {"dataset": {"_target_": "Dataset", "data": "$@cohort.select('held_out')"}},
        }
    )
    training, held_out = split_by_patient(items, held_out_fraction=0.4)
    assert parser.get_parsed_content("train#dataset").data == training
    assert parser.get_parsed_content("validate#dataset").data == held_out


@pytest.mark.skipif(not REAL_CASES.is_dir(), reason="the real cases are not beside the bundle")
def test_real_cases(tmp_path: Path) -> None:
    cohort = Cohort(str(REAL_CASES), cache_dir=str(tmp_path))
    assert (len(cohort.training), len(cohort.held_out), cohort.problems) == (32, 8, {})
    assert len({item["patient"] for item in cohort.all}) == 40


# ---- command line


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.datalist", *arguments]
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
