# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.bundle import ConfigParser

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.cohort import Cohort, split_by_patient
from scripts.data.datalist import read_datalist, write_datalist
from tests.data.test_checks import cut, damage_unseen, make_case
from tests.data.test_discovery import cases_of

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


# ---- cohort


def test_a_cohort_holds_both_sides(tmp_path: Path) -> None:
    items = make_cohort(tmp_path)
    cohort = Cohort(str(tmp_path), held_out_fraction=0.4, seed=3)
    assert cohort.sound_cases() == items
    assert (cohort.training_cases(), cohort.held_out_cases()) == split_by_patient(items, held_out_fraction=0.4, seed=3)
    assert cohort.select("held_out") == cohort.held_out_cases()
    assert cohort.select("all") == items
    assert cohort.problems == {}
    cohort.raise_if_problems()
    with pytest.raises(BundleError, match="split training: allowed are all, held_out"):
        cohort.select("training")


@pytest.mark.parametrize("side", ["training_cases", "held_out_cases", "sound_cases"])
def test_broken_cases_stop_the_run_by_name(tmp_path: Path, side: str) -> None:
    items = make_cohort(tmp_path, 9)
    os.remove(items[0]["label"])
    for item in items[1:7]:
        cut(item["image"][1], 0.5)
    with pytest.raises(BundleError) as caught:
        getattr(Cohort(str(tmp_path)), side)()
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
    cut(before.held_out_cases()[0]["image"][0], 0.5)
    os.remove(before.training_cases()[0]["image"][2])
    broken = [before.held_out_cases()[0]["case"], before.training_cases()[0]["case"]]
    with caplog.at_level(logging.WARNING, "scripts.data.cohort"):
        after = Cohort(str(tmp_path), held_out_fraction=0.4, skip_invalid=True)
        assert after.sound_cases() == [item for item in items if item["case"] not in broken]
    # A bad file must not change who is held out.
    assert after.training_cases() == before.training_cases()[1:]
    assert after.held_out_cases() == before.held_out_cases()[1:]
    assert sorted(after.problems) == sorted(broken)
    assert all(any(case in message for message in caplog.messages) for case in broken)
    with pytest.raises(BundleError, match="cases left out: 2") as caught:
        after.raise_if_problems()
    assert all(case in str(caught.value) for case in broken)


def test_each_case_is_checked_once(tmp_path: Path) -> None:
    items = make_cohort(tmp_path)
    cohort = Cohort(str(tmp_path))
    training = cohort.training_cases()
    for item in items:
        cut(item["label"], 0.5)
    assert cohort.training_cases() == training
    assert cohort.sound_cases() == items
    assert len(cohort.held_out_cases()) == 1


def test_selecting_checks_no_others(tmp_path: Path) -> None:
    make_cohort(tmp_path)
    held_out = Cohort(str(tmp_path)).held_out_cases()
    for item in Cohort(str(tmp_path)).training_cases():
        cut(item["label"], 0.5)
    cohort = Cohort(str(tmp_path))
    assert cohort.select("held_out") == held_out
    cohort.raise_if_problems()
    with pytest.raises(BundleError, match="4 of 5 cases"):
        cohort.select("all")


def test_the_cache_dir_outlives_the_cohort(tmp_path: Path) -> None:
    items = make_cohort(tmp_path / "data")
    assert Cohort(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache")).sound_cases() == items
    damage_unseen(items[0]["label"])
    assert Cohort(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache")).sound_cases() == items
    with pytest.raises(BundleError, match="1 of 5 cases"):
        _ = Cohort(str(tmp_path / "data"), cache_dir=str(tmp_path / "another")).sound_cases()


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        ("training_cases", "none of the 2 cases to train with can be used"),
        ("held_out_cases", "none of the 1 cases held out can be used"),
        ("sound_cases", "3 of 3 cases cannot be used: correct them, for none is left"),
    ],
)
def test_a_side_with_no_sound_case_is_refused(tmp_path: Path, side: str, expected: str) -> None:
    make_cohort(tmp_path, 3)
    for item in getattr(Cohort(str(tmp_path)), side)():
        cut(item["image"][3], 0.5)
    cohort = Cohort(str(tmp_path), skip_invalid=True)
    with pytest.raises(BundleError, match=expected) as caught:
        getattr(cohort, side)()
    assert "_flair.nii.gz" in str(caught.value)


def test_a_single_case_with_a_bad_label_can_be_segmented(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    cut(item.pop("label"), 0.5)
    cohort = Cohort(str(tmp_path / item["case"]), labels="ignored")
    assert cohort.sound_cases() == [item]
    with pytest.raises(BundleError, match="too small to split"):
        _ = cohort.training_cases()


def test_a_case_without_a_label_may_be_held_out_and_changes_no_split(tmp_path: Path) -> None:
    held_out = make_cohort(tmp_path) and Cohort(str(tmp_path), held_out_fraction=0.4).held_out_cases()
    os.remove(held_out[0]["label"])
    found = Cohort(str(tmp_path), labels="optional", held_out_fraction=0.4).select("held_out")
    assert cases_of(found) == cases_of(held_out)
    assert [item.get("label") for item in found] == [None, *(item["label"] for item in held_out[1:])]
    entry = {"image": held_out[1]["image"]}
    path = str(tmp_path / "list.json")
    Path(path).write_text(json.dumps({"training": [], "validation": [entry]}))
    assert "label" not in read_datalist(path, labels="optional")[1][0]
    with pytest.raises(BundleError, match="has no label"):
        read_datalist(path)


def test_cases_of_other_patients(tmp_path: Path) -> None:
    make_cohort(tmp_path)
    cohort = Cohort(str(tmp_path))
    assert cohort.without_patients_of(cohort.held_out_cases()) == cohort.training_cases()
    assert cohort.without_patients_of([]) == cohort.sound_cases()


def test_a_cohort_of_a_data_list(tmp_path: Path) -> None:
    items = make_cohort(tmp_path / "data")
    path = str(tmp_path / "datalist.json")
    write_datalist(path, items[:2], items[2:])
    cohort = Cohort("unused", datalist=path)
    assert (cohort.training_cases(), cohort.held_out_cases(), cohort.sound_cases()) == (items[:2], items[2:], items)
    assert Cohort("unused").select(path) == items[2:]
    os.remove(items[3]["image"][1])
    with pytest.raises(BundleError, match=r"BraTS2021_00003_t1ce\.nii\.gz: no such file"):
        Cohort("unused").select(path)
    assert Cohort("unused", datalist=path, skip_invalid=True).held_out_cases() == [items[2], items[4]]


def test_configs_share_one_cohort(tmp_path: Path) -> None:
    items = make_cohort(tmp_path)
    parser = ConfigParser(
        {
            "cohort": {
                "_target_": "scripts.data.Cohort",
                "dataset_dir": str(tmp_path),
                "held_out_fraction": 0.4,
            },
            "train": {"dataset": {"_target_": "Dataset", "data": "$@cohort.training_cases()"}},
            "validate": {"dataset": {"_target_": "Dataset", "data": "$@cohort.select('held_out')"}},
        }
    )
    training, held_out = split_by_patient(items, held_out_fraction=0.4, seed=0)
    assert parser.get_parsed_content("train#dataset").data == training
    assert parser.get_parsed_content("validate#dataset").data == held_out


@pytest.mark.skipif(not REAL_CASES.is_dir(), reason="the real cases are not beside the bundle")
def test_real_cases(tmp_path: Path) -> None:
    cohort = Cohort(str(REAL_CASES), cache_dir=str(tmp_path))
    assert (len(cohort.training_cases()), len(cohort.held_out_cases()), cohort.problems) == (32, 8, {})
    assert len({item["patient"] for item in cohort.sound_cases()}) == 40
