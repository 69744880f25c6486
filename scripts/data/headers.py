# SPDX-License-Identifier: Apache-2.0
"""Headers of volumes: sizes that cannot be, and entries that contradict each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import nibabel as nib
import numpy as np

from scripts.base.errors import BundleError

AFFINE_TOLERANCE = 1e-3
# A header beyond these limits is damaged, or its volume would not fit in memory: a BraTS volume has 240 voxels of 1 mm
# along an axis and 9 million in total.
MAX_AXIS = 1024
MAX_VOXELS = 2**27
MAX_EXTENT = 600.0  # mm along an axis
MIN_SPACING = 0.1  # mm
MAX_CODE = 5  # of sform and qform in NIfTI-1 and -2
UNITS = {1: "metres", 3: "micrometres"}  # of NIfTI's xyzt_units but mm (2) and unknown (0)


def check_units(header: Any) -> None:
    """Raises a `BundleError` where a NIfTI header gives lengths in another unit than mm."""
    if unit := UNITS.get(int(header["xyzt_units"]) & 7):
        raise BundleError(
            f"its header gives lengths in {unit}; give them in mm (xyzt_units 2, and affine and pixdim in mm)"
        )


def check_header(shape: Sequence[int], affine: np.ndarray, dtype: np.dtype) -> None:
    """Raises a `BundleError` for voxels that are no real numbers, or a size or spacing that no scan has."""
    if dtype.kind not in "biuf":
        remedy = "save its magnitude" if dtype.kind == "c" else "save one number a voxel, no colours"
        raise BundleError(f"voxels of type {dtype}; only real numbers are allowed, {remedy}")
    if not all(0 < axis <= MAX_AXIS for axis in shape) or math.prod(shape[:3]) > MAX_VOXELS or len(shape) > 5:
        limits = f"1 to {MAX_AXIS} voxels along an axis and {MAX_VOXELS >> 20} Mi in all"
        raise BundleError(f"its header announces the shape {tuple(shape)}; allowed are {limits}; export it again")
    axes = affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    extent = spacing[: len(shape)] * shape[:3]
    flat = abs(np.linalg.det(axes)) < 0.1 * spacing.prod()
    if not (spacing.min() >= MIN_SPACING and extent.max() <= MAX_EXTENT) or flat:  # NaN compares as false
        limits = f"voxels of at least {MIN_SPACING} mm and {MAX_EXTENT:g} mm along an axis"
        raise BundleError(
            f"its header announces voxels of {_listed(spacing)} mm; allowed are {limits}; export it again"
        )


def check_forms(image: Any, header: Any, *, loaded: np.ndarray) -> None:
    """Compares a header's redundant entries.

    NiBabel and MONAI each correct a header in their own way: `header` is the file's own, and `loaded` is the affine
    that MONAI's transforms use, which differs from NiBabel's where affine and pixdim differ slightly.

    Raises:
        BundleError: where affine, sform, qform and pixdim contradict each other.
    """
    codes, sizes = [int(header[f"{form}_code"]) for form in ("sform", "qform")], header["pixdim"][1:4]
    if not all(0 <= code <= MAX_CODE for code in codes):
        raise BundleError(
            f"its header has sform_code and qform_code {codes}; allowed are 0 to {MAX_CODE}; correct them"
        )
    spacing = np.linalg.norm(image.affine[:3, :3], axis=0)[: len(image.shape)]
    alike = np.allclose(loaded, image.affine, rtol=0, atol=AFFINE_TOLERANCE)
    if not (alike and np.allclose(spacing, sizes[: len(image.shape)], rtol=0.01)):
        found = f"{_listed(spacing)} mm and {_listed(sizes)} mm"
        raise BundleError(
            f"its affine and pixdim disagree about the voxels ({found}); export it again, or correct the header"
        )
    if all(codes):
        sform, qform = image.get_sform(), image.get_qform()
        # a head that is turned or moved is harmless; a mirrored one, or another axis, is not
        if ((sform * qform)[:3, :3].sum(axis=0) < 0.5 * spacing**2).any():
            found = " and ".join("".join(nib.aff2axcodes(form)) for form in (sform, qform))
            raise BundleError(f"its sform and qform disagree ({found}); set the code of the wrong one to 0")


def _listed(sizes: np.ndarray) -> str:
    return " x ".join(f"{size:.3g}" for size in sizes)
