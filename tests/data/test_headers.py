# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.data.headers import check_forms, check_header, check_units

SOUND = np.diag([1.0, 1, 1, 1])


def header_of(affine: np.ndarray, **fields: float) -> nib.Nifti1Image:
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), affine)
    for name, value in fields.items():
        image.header[name] = value
    return image


@pytest.mark.parametrize(
    ("shape", "affine", "dtype", "expected"),
    [
        ((4, 4, 4), SOUND, np.int16, None),
        ((4, 4, 4, 4), SOUND, np.float64, None),
        ((4, 4, 4), SOUND, np.complex64, "save its magnitude"),
        ((4, 4, 1025), SOUND, np.int16, "1 to 1024 voxels"),
        ((4, 0, 4), SOUND, np.int16, "1 to 1024 voxels"),
        ((4, 4, 4), 0.05 * SOUND, np.int16, "voxels of at least 0.1 mm"),
        ((4, 4, 4), 200 * SOUND, np.int16, "600 mm along an axis"),
        ((4, 4, 4), SOUND[[0, 0, 2, 3]], np.int16, "announces voxels of"),
        ((4, 4, 4), np.nan * SOUND, np.int16, "announces voxels of"),
    ],
)
def test_what_no_scan_has_is_refused(
    shape: tuple[int, ...], affine: np.ndarray, dtype: type, expected: str | None
) -> None:
    if expected is None:
        check_header(shape, affine, np.dtype(dtype))
    else:
        with pytest.raises(BundleError, match=expected):
            check_header(shape, affine, np.dtype(dtype))


@pytest.mark.parametrize(("code", "unit"), [(0, None), (2, None), (10, None), (1, "metres"), (11, "micrometres")])
def test_lengths_are_in_mm(code: int, unit: str | None) -> None:
    image = header_of(SOUND, xyzt_units=code)
    if unit is None:
        check_units(image.header)
    else:
        with pytest.raises(BundleError, match=f"gives lengths in {unit}; give them in mm"):
            check_units(image.header)


@pytest.mark.parametrize(
    ("qform", "sound"),
    [(SOUND, True), (np.diag([-1.0, 1, 1, 1]), False), (SOUND[[1, 0, 2, 3]], False)],
)
def test_a_second_affine_may_be_moved_but_not_mirrored(qform: np.ndarray, sound: bool) -> None:
    image = header_of(SOUND)
    image.set_sform(SOUND, code=1)
    image.set_qform(qform, code=1)
    if sound:
        check_forms(image, image.header, loaded=SOUND)
    else:
        with pytest.raises(BundleError, match="its sform and qform disagree"):
            check_forms(image, image.header, loaded=SOUND)
