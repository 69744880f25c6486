# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.data.background import SAMPLES
from scripts.data.survey import survey
from tests.data.test_checks import make_label, make_scan, save


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii", "a.nrrd"])
def test_every_step_th_voxel_of_a_volume_is_kept(tmp_path: Path, name: str) -> None:
    scan = make_scan(shape=(72, 71, 70))  # more than one block, and more voxels than are kept
    found = survey(save(tmp_path / name, scan))
    step = found.step
    assert step == 2
    assert scan.size > SAMPLES
    np.testing.assert_array_equal(found.thinned[0], scan[::step, ::step, ::step])
    assert (found.shape, found.constant, found.finite, found.values) == (scan.shape, {}, True, set())


def test_channels_of_a_4d_file_are_told_apart(tmp_path: Path) -> None:
    scans = [make_scan(0), np.zeros_like(make_scan()), make_scan(2)]
    found = survey(save(tmp_path / "a.nii.gz", np.stack(scans, axis=-1)))
    assert found.constant == {1: 0.0}
    for channel, scan in enumerate(scans):
        np.testing.assert_array_equal(found.thinned[channel], scan)


def test_values_of_a_label_map_are_rounded_and_scaled(tmp_path: Path) -> None:
    image = nib.Nifti1Image(make_label((2, 4, 8)), np.eye(4))
    image.header.set_slope_inter(0.5 + 1e-4, 0)
    nib.save(image, tmp_path / "a.nii")
    found = survey(str(tmp_path / "a.nii"), labels=True)
    assert found.values == {1.0, 2.0, 4.0}
    assert found.thinned == {}


def test_axes_of_one_voxel_at_the_end_are_left_out(tmp_path: Path) -> None:
    assert survey(save(tmp_path / "a.nii.gz", make_scan()[..., None, None])).shape == make_scan().shape


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_what_float32_cannot_hold_is_refused(tmp_path: Path, value: float) -> None:
    scan = make_scan().astype(np.float64)
    scan[-1, -1, -1] = value
    with pytest.raises(BundleError, match=r"a\.nii\.gz: has NaN or infinite voxels"):
        survey(save(tmp_path / "a.nii.gz", scan))
