# SPDX-License-Identifier: Apache-2.0
"""The mark in the header of every volume that this bundle writes: such a volume is never taken for truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
from monai.config import PathLike

MARK = "brats_mri_reciprocal_segmentation, not for diagnosis"  # NIfTI's `descrip` holds 80 bytes
UNMARK = (
    "carries this bundle's mark of a prediction in its header (descrip), so it is no truth; where a person has "
    "corrected it, save it with that field empty"
)
_HEAD = 4096  # bytes of .nrrd and .mha in which ITK keeps NIfTI's `descrip`


def mark_prediction(image: Any, *, missing: str = "") -> None:
    """Marks a NIfTI image, in its header's `descrip`, which also names the modalities that its case lacked."""
    image.header["descrip"] = (MARK + (f", without {missing}" if missing else "")).encode()


def is_prediction(path: PathLike) -> bool:
    """Returns whether a file is a volume that carries the mark; False where it cannot be read."""
    if not Path(path).is_file():
        return False
    try:
        if Path(path).name.lower().endswith((".nii", ".nii.gz")):
            header: Any = nib.load(path).header
            return bytes(header["descrip"].item()).startswith(MARK.encode())
        with open(path, "rb") as file:
            return MARK.encode() in file.read(_HEAD)
    except Exception:  # damaged bytes make readers raise about anything
        return False
