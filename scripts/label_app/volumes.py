# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import nibabel as nib
import numpy as np
from monai.transforms import LoadImage

from scripts.base.errors import BundleError
from scripts.brats import TISSUE_VALUES, Item
from scripts.data.checks import AFFINE_TOLERANCE
from scripts.data.discovery import hash_item
from scripts.data.transforms import LoadScansd

VIEWS = ("t1", "t1ce", "t2", "flair", "4d")  # what a client may look at: one modality, or all in one file


def to_view(item: Item, view: str, *, cache_dir: Path) -> Path:
    """Gives the NIfTI file of a case's view: its own where it has one, else one that is made and kept in the cache.

    Args:
        item: of the case.
        view: one of `VIEWS`; `4d` has the modalities last, in the house order.
        cache_dir: where a made file goes; it is made anew when a file of the case changes.

    Raises:
        BundleError: for another view, or a case that cannot be read.
    """
    if view not in VIEWS:
        raise BundleError(f"view {view}: unknown; allowed are {', '.join(VIEWS)}")
    index = VIEWS.index(view)
    if len(item["image"]) == 4 and index < 4 and item["image"][index].endswith((".nii", ".nii.gz")):
        return Path(item["image"][index])
    place = cache_dir / f"{item['case']}-{view}-{hash_item(item).decode()[:12]}.nii.gz"
    if not place.exists():
        image = LoadScansd("image")(cast(dict, item))["image"]
        voxels = image.numpy() if index == 4 else image.numpy()[index : index + 1]
        whole = np.array_equal(voxels, voxels.astype(np.int16))
        volume = np.moveaxis(voxels.astype(np.int16 if whole else np.float32), 0, -1)
        for old in cache_dir.glob(f"{item['case']}-{view}-*.nii.gz"):
            old.unlink()
        save(place, volume if index == 4 else volume[..., 0], image.affine.numpy())
    return place


def to_labels(path: str, reference: Path, *, numbers: Mapping[int, str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Reads a label map that a client sends and brings it to the values of `TISSUE_VALUES`.

    Args:
        path: of the file, of any format of NiBabel or ITK.
        reference: a scan of the case (NIfTI), on whose grid it must lie.
        numbers: names of the values in the file, because 3D Slicer renumbers segments; None for `TISSUE_VALUES`.

    Returns:
        The label map (H, W, D) as uint8, and the affine.

    Raises:
        BundleError: when it cannot be read, lies on another grid, or has values or names that mean nothing here.
    """
    try:
        label = LoadImage(image_only=True, ensure_channel_first=True)(path)
    except Exception as error:  # damaged bytes make readers raise about anything
        raise BundleError(f"the label cannot be read ({type(error).__name__}); send it again") from error
    scan: Any = nib.load(reference)
    if label.shape != (1, *scan.shape) or not np.allclose(label.affine, scan.affine, rtol=0, atol=AFFINE_TOLERANCE):
        raise BundleError(
            f"the label lies on a grid of {tuple(label.shape)} voxels that is not that of "
            f"{reference.name}, {scan.shape}; export it with the scan as reference"
        )
    names = numbers or {value: name for name, value in TISSUE_VALUES.items()}
    labels = np.zeros(scan.shape, np.uint8)
    for value in np.unique(label[label != 0]).tolist():
        if names.get(value) not in TISSUE_VALUES:
            known = ", ".join(f"{number} {name}" for name, number in TISSUE_VALUES.items())
            raise BundleError(f"the label has {value:g} ({names.get(value)}); allowed are {known}")
        labels[label[0].numpy() == value] = TISSUE_VALUES[names[value]]
    return labels, scan.affine


def save(place: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Writes NIfTI whole or not at all; its folder is made.

    Raises:
        BundleError: where it cannot be written.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=place.parent, prefix=".") as folder:
            unfinished = Path(folder, place.name)
            nib.save(nib.Nifti1Image(voxels, affine), unfinished)
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, place)
    except OSError as error:
        raise BundleError(f"{place}: cannot be written ({error.strerror}); grant access to its folder") from error
