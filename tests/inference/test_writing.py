# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import errno
import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage

from scripts.base.errors import BundleError
from scripts.data.predictions import is_prediction
from scripts.inference.writing import SaveVolumed
from tests.outputs import assert_not_replaced, results_in
from tests.tolerances import EXACT, FLOAT32


def make_data(value: float = 1.0) -> dict[Hashable, MetaTensor]:
    affine = torch.diag(torch.tensor([-2.0, -2, 3, 1], dtype=torch.float64))
    return {"pred": MetaTensor(torch.full((1, 4, 5, 6), value), affine, meta={"filename_or_obj": "/data/case.nii.gz"})}


def test_a_volume_is_written_in_its_geometry_under_the_cases_name(tmp_path: Path) -> None:
    SaveVolumed("pred", tmp_path / "out", "seg", torch.uint8)(make_data(2))
    assert results_in(tmp_path / "out") == {"case_seg.nii.gz"}
    image = nib.Nifti1Image.from_filename(tmp_path / "out" / "case_seg.nii.gz")
    assert image.header.get_xyzt_units()[0] == "mm"
    assert image.get_data_dtype() == np.uint8
    assert np.array_equal(np.asarray(image.dataobj), np.full((4, 5, 6), 2))
    assert np.array_equal(image.affine, np.diag([-2, -2, 3, 1]))


@pytest.mark.parametrize(("dtype", "step"), [(torch.uint8, 0.01), (torch.int16, 0.0001)])
def test_shares_are_stored_as_whole_steps_and_read_as_shares(tmp_path: Path, dtype: torch.dtype, step: float) -> None:
    data, shares = make_data(), torch.rand(3, 4, 5, 6, generator=torch.manual_seed(0))
    shares[:, 0, 0] = torch.tensor([0.0, 1, -0.001, 1.001, 0.5, 0.25])  # resampling overshoots a little
    data["pred"] = MetaTensor(shares, data["pred"].affine, meta=data["pred"].meta)
    SaveVolumed("pred", tmp_path, "confidence", dtype, step=step)(data)
    path = tmp_path / "case_confidence.nii.gz"
    image = nib.Nifti1Image.from_filename(path)
    proxy: Any = image.dataobj
    stored = np.asarray(proxy.get_unscaled())
    assert torch.from_numpy(stored).dtype == dtype
    assert stored[..., 0][0, 0].tolist() == [round(share / step) for share in (0, 1, 0, 1, 0.5, 0.25)]
    wanted = np.moveaxis(shares.numpy(), 0, -1).clip(0, 1)
    for read in (image.get_fdata(), np.moveaxis(LoadImage(ensure_channel_first=True)(path).numpy(), 0, -1)):
        assert read.min() == 0
        assert read.max() <= 1
        # float32 holds the shares, the step and what is read
        np.testing.assert_allclose(read, wanted, rtol=0, atol=step / 2 + FLOAT32)


def test_an_earlier_result_stays_where_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = SaveVolumed("pred", tmp_path, "seg")
    save(make_data())
    before = (tmp_path / "case_seg.nii.gz").read_bytes()

    def fill_up(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill_up)
    with pytest.raises(BundleError, match="No space left on device") as caught:
        save(make_data(2))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert results_in(tmp_path) == {"case_seg.nii.gz"}
    assert (tmp_path / "case_seg.nii.gz").read_bytes() == before


def test_a_result_is_marked_and_replaced_by_the_next(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        SaveVolumed("pred", tmp_path, "seg")(make_data(value))
        image = nib.Nifti1Image.from_filename(tmp_path / "case_seg.nii.gz")
        assert (np.asarray(image.dataobj) == value).all()
    assert is_prediction(tmp_path / "case_seg.nii.gz")


@pytest.mark.parametrize("postfix", ["seg", "probabilities", "confidence"])
def test_a_persons_own_file_is_not_replaced(tmp_path: Path, postfix: str) -> None:
    save = SaveVolumed("pred", tmp_path, postfix)
    assert save.results_of(["case"]) == [tmp_path / f"case_{postfix}.nii.gz"]
    assert_not_replaced(tmp_path / f"case_{postfix}.nii.gz", lambda: save(make_data()))


@pytest.mark.parametrize(("shear", "code"), [(0.0, 1), (0.25, 0)])
def test_the_qform_says_what_the_sform_says_or_nothing(tmp_path: Path, shear: float, code: int) -> None:
    data = make_data()
    data["pred"].affine = torch.tensor(np.array([[-2, 0, 0, 5], [0, -2, shear * 3, 0], [0, 0, 3, 0], [0, 0, 0, 1.0]]))
    SaveVolumed("pred", tmp_path, "seg")(data)
    image = nib.Nifti1Image.from_filename(tmp_path / "case_seg.nii.gz")
    np.testing.assert_array_equal(image.get_sform(), data["pred"].affine)
    assert int(image.header["qform_code"]) == code
    if code:
        np.testing.assert_allclose(image.get_qform(), image.get_sform(), rtol=0, atol=EXACT)
