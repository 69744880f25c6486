# SPDX-License-Identifier: Apache-2.0
"""The mark in the header of every volume that this bundle writes: such a volume is never taken for truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
from monai.config import PathLike

MARK = "brats_mri_reciprocal_segmentation, not for diagnosis"  # NIfTI's `descrip` holds 80 bytes


def mark_as_own(image: Any) -> None:
    """Marks a NIfTI image, in its header's `descrip`."""
    image.header["descrip"] = MARK.encode()


def is_own_file(path: PathLike) -> bool:
    """Returns whether a file is a volume that carries the mark; False where it cannot be read."""
    if not (Path(path).name.lower().endswith((".nii", ".nii.gz")) and Path(path).is_file()):
        return False
    try:
        header: Any = nib.load(path).header
        return bytes(header["descrip"].item()).rstrip(b"\0") == MARK.encode()
    except Exception:  # damaged bytes make readers raise about anything
        return False
