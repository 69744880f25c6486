# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.base.errors import BundleError
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
    assert "has no seg" in fault


def test_a_prediction_in_a_data_list_is_no_truth(tmp_path: Path) -> None:
    items = [make_case(tmp_path, f"case_{index}") for index in range(2)]
    items[1]["label"] = str(write_prediction(tmp_path / "out" / "case_1_seg.nii.gz"))
    path = str(tmp_path / "list.json")
    write_datalist(path, items[:1], items[1:])
    with pytest.raises(BundleError, match=r"out/case_1_seg\.nii\.gz is a prediction of this bundle"):
        read_datalist(path)
