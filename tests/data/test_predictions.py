# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.base.results import write_result
from scripts.data.datalist import read_datalist, write_datalist
from scripts.data.discovery import find_cases
from scripts.data.predictions import is_prediction, mark_prediction
from tests.data.test_checks import make_case, make_label


def write_prediction(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(make_label(), np.eye(4))
    mark_prediction(image)
    nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".NII.GZ"])
def test_only_what_carries_the_mark_is_our_own(tmp_path: Path, suffix: str) -> None:
    assert is_prediction(write_prediction(tmp_path / f"seg{suffix}"))
    assert not is_prediction(make_case(tmp_path)["label"])
    assert not is_prediction(tmp_path / "nowhere.nii.gz")
    (tmp_path / "damaged.nii.gz").write_bytes(b"damaged")
    assert not is_prediction(tmp_path / "damaged.nii.gz")


def test_a_prediction_below_the_data_set_is_no_truth(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    write_prediction(tmp_path / "output" / f"{item['case']}_seg.nii.gz")
    assert find_cases(str(tmp_path)) == [item]
    Path(item["label"]).unlink()
    assert "label" not in find_cases(str(tmp_path), labels="optional")[0]
    fault = find_cases(str(tmp_path))[0]["fault"]
    assert f"{item['case']}_seg.nii.gz: carries this bundle's mark" in fault
    assert "where a person has corrected it" in fault


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
def test_a_prediction_that_was_converted_keeps_its_mark(tmp_path: Path, suffix: str) -> None:
    place = str(write_prediction(tmp_path / "seg.nii.gz"))
    itk.imwrite(itk.imread(place), str(tmp_path / f"seg{suffix}"))
    assert is_prediction(tmp_path / f"seg{suffix}")
    assert not is_prediction(make_case(tmp_path, suffix=suffix)["label"])


def test_what_was_written_below_the_data_set_is_not_searched(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    truth = Path(item["label"])
    (tmp_path / "out").mkdir()
    result = tmp_path / "out" / truth.name
    write_result(result, truth.read_bytes())  # of whatever kind: it is listed
    assert find_cases(str(tmp_path)) == [item]
    result.write_bytes(truth.read_bytes() + b"x")  # a person's, in place of it
    assert "is there twice" in find_cases(str(tmp_path))[0]["fault"]


def test_truth_in_the_folder_of_results_is_found_and_so_are_scans(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    write_result(tmp_path / item["case"] / "report.html", b"")
    write_result(tmp_path / "report.html", b"")
    assert find_cases(str(tmp_path)) == [item]


def test_truth_from_another_folder_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    item = make_case(tmp_path)
    find_cases(str(tmp_path))
    assert not caplog.records
    elsewhere = tmp_path / "earlier" / Path(item["label"]).name
    elsewhere.parent.mkdir()
    Path(item["label"]).rename(elsewhere)
    with caplog.at_level(logging.WARNING):
        (found,) = find_cases(str(tmp_path))
    assert found["label"] == str(elsewhere)
    assert f"the truth of 1 cases lies in another folder than their scans, such as {elsewhere}" in caplog.text


def test_without_a_truth_that_is_needed_a_marked_one_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    item = make_case(tmp_path)
    write_prediction(Path(item["label"]))
    with caplog.at_level(logging.WARNING):
        find_cases(str(tmp_path), labels="ignored")
        assert not caplog.records
        find_cases(str(tmp_path), labels="optional")
    assert f"{item['label']}: carries this bundle's mark" in caplog.text


def test_a_prediction_in_a_data_list_is_no_truth(tmp_path: Path) -> None:
    items = [make_case(tmp_path, f"case_{index}") for index in range(2)]
    items[1]["label"] = str(write_prediction(tmp_path / "out" / "case_1_seg.nii.gz"))
    path = str(tmp_path / "list.json")
    write_datalist(path, items[:1], items[1:])
    with pytest.raises(BundleError, match=r"out/case_1_seg\.nii\.gz carries this bundle's mark"):
        read_datalist(path)
