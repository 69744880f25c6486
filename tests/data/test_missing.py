# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.data.checks import check_cases
from scripts.data.cohort import Cohort
from scripts.data.datalist import read_datalist
from scripts.data.discovery import find_cases
from scripts.data.missing import tell_missing, what_is_missing
from scripts.data.transforms import MISSING, LoadScansd
from tests.data.test_checks import MODALITIES, make_case, make_scan, save
from tests.data.test_discovery import faults_of, touch


@pytest.mark.parametrize(
    ("absent", "missing"), [(["t1ce"], ["T1ce"]), (["flair", "t1"], ["T1", "FLAIR"]), (["t1", "t1ce", "t2"], None)]
)
def test_a_case_may_lack_one_or_two_modalities_where_that_is_allowed(
    absent: list[str], missing: list[str] | None, tmp_path: Path
) -> None:
    there = [name for name in MODALITIES if name not in absent]
    paths = touch(tmp_path / "p", [f"p_{name}.nii.gz" for name in (*there, "seg")])
    (item,) = find_cases(str(tmp_path), allow_missing=True)
    (refused,) = find_cases(str(tmp_path))
    assert "missing" not in refused
    assert ("--allow_missing true" in refused["fault"]) == (missing is not None)
    if missing is None:
        assert "has no T1 and no T1ce and no T2 file" in item["fault"]
    else:
        assert item["image"] == paths[:-1]
        assert item["missing"] == missing
        assert "fault" not in item


def test_what_is_missing_is_exactly_0_and_the_others_are_in_their_places(tmp_path: Path) -> None:
    scans = {name: make_scan(seed) for seed, name in enumerate(MODALITIES)}
    for name in ("t1", "flair"):
        save(tmp_path / "p" / f"p_{name}.nii.gz", scans[name])
    cohort = Cohort(str(tmp_path), labels="ignored", allow_missing=True)
    (item,) = cohort.sound_cases()
    loaded = LoadScansd("image")(cast(dict, item))
    image = loaded["image"]
    assert image.meta[MISSING] == "T1ce, T2"
    assert "missing" not in loaded
    expected = np.stack([scans["t1"], 0 * scans["t1"], 0 * scans["t1"], scans["flair"]])
    np.testing.assert_array_equal(image, expected)
    whole = LoadScansd("image")(cast(dict, make_case(tmp_path / "whole")))["image"]
    assert MISSING not in whole.meta


def test_a_label_is_needed_where_it_was_before(tmp_path: Path) -> None:
    touch(tmp_path / "p", [f"p_{name}.nii.gz" for name in ("t1", "t2", "flair")])
    assert "has no seg file" in faults_of(find_cases(str(tmp_path), allow_missing=True))["p"]
    assert not faults_of(find_cases(str(tmp_path), labels="optional", allow_missing=True))


def test_a_single_4d_file_is_whole_or_faulty_as_before(tmp_path: Path) -> None:
    scans = np.stack([make_scan(seed) for seed in range(4)], axis=3)
    scans[..., 2] = 0
    save(tmp_path / "imagesTs" / "BRATS_1.nii.gz", scans)
    items = find_cases(str(tmp_path), labels="ignored", allow_missing=True)
    assert "0 everywhere" in check_cases(items)["BRATS_1"]


def make_list(folder: Path, entry: dict[str, Any]) -> str:
    whole = {"image": [f"b_{name}.nii.gz" for name in MODALITIES], "label": "b_seg.nii.gz"}
    (folder / "list.json").write_text(json.dumps({"training": [whole], "validation": [entry]}))
    return str(folder / "list.json")


def test_a_data_list_declares_what_is_missing(tmp_path: Path) -> None:
    entry = {"image": ["a_flair.nii.gz", "a_t1.nii.gz", "a_t2.nii.gz"], "label": "a_seg.nii.gz", "missing": ["T1ce"]}
    path = make_list(tmp_path, entry)
    _, (item,) = read_datalist(path, allow_missing=True)
    assert item["missing"] == ["T1ce"]
    assert [Path(file).name for file in item["image"]] == ["a_t1.nii.gz", "a_t2.nii.gz", "a_flair.nii.gz"]
    with pytest.raises(BundleError, match="its case has no T1ce; `--allow_missing true`"):
        read_datalist(path)


def test_a_modality_that_is_there_is_not_missing(tmp_path: Path) -> None:
    entry = {"image": ["a_t1.nii.gz", "a_t1ce.nii.gz", "a_t2.nii.gz"], "label": "a_seg.nii.gz", "missing": ["T1ce"]}
    with pytest.raises(BundleError, match=r"a_t1ce\.nii\.gz: is T1ce, which is listed as missing"):
        read_datalist(make_list(tmp_path, entry), allow_missing=True)


@pytest.mark.parametrize(
    ("missing", "count", "expected"),
    [
        (["T3"], 3, "missing is ['T3']; allowed are one or two of T1, T1ce, T2, FLAIR"),
        (["T1", "T1"], 2, "allowed are one or two"),
        (["T1", "T2", "T1ce"], 1, "allowed are one or two"),
        (["T1"], 4, "allowed are 3 paths"),
    ],
)
def test_a_data_list_that_declares_something_else_is_refused(
    missing: list[str], count: int, expected: str, tmp_path: Path
) -> None:
    entry = {"image": [f"a_{n}.nii.gz" for n in range(count)], "label": "a_seg.nii.gz", "missing": missing}
    with pytest.raises(BundleError) as caught:
        read_datalist(make_list(tmp_path, entry), allow_missing=True)
    assert expected in str(caught.value)


def test_the_regions_that_become_unreliable_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert what_is_missing([]) == ""
    assert what_is_missing(["T2"]) == "without T2"
    assert what_is_missing(["FLAIR"]) == "without FLAIR: WT is unreliable"
    assert what_is_missing(["T1ce", "FLAIR"]) == "without T1ce and FLAIR: TC, WT and ET are unreliable"
    whole = {"case": "a", "patient": "a", "layout": "brats2021", "image": [""] * 4}
    tell_missing([cast(Any, whole), cast(Any, whole | {"case": "b", "missing": ["T1ce"]})])
    assert capsys.readouterr().out == "b: without T1ce: TC and ET are unreliable\n"
