# SPDX-License-Identifier: Apache-2.0
"""Scans as clients see them, and NIfTI files with a header of this project's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from isal import igzip
from monai.transforms import LoadImage

from scripts.base.atomic_files import write_atomically
from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.item_files import hash_item
from scripts.data.transforms import LoadScansd

VIEWS = ("t1", "t1ce", "t2", "flair", "4d")  # what a client may look at: one modality, or all in one file


def to_view(item: Item, view: str, *, cache_dir: Path, cache_bytes: int = 2**31) -> Path:
    """Returns the NIfTI file of a view: the case's own file where it has one, else a file made in the cache.

    Args:
        item: the case.
        view: one of `VIEWS`; `4d` has the modalities last, in the house order.
        cache_dir: folder of the files that are made; a file is replaced when a scan of its case changes.
        cache_bytes: size of the cache beyond which the files that were made first are removed.

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
        _limit(cache_dir, cache_bytes, keep=place)
    return place


def read_scan(item: Item, modality: str, *, cache_dir: Path) -> bytes:
    """Returns one modality as a viewer gets it (see `for_viewer`), as int16 or float32 with finite voxels only.

    Raises:
        BundleError: for another modality, or a scan that cannot be read.
    """
    if modality not in VIEWS[:4]:
        raise BundleError(f"modality {modality}: unknown; allowed are {', '.join(VIEWS[:4])}")
    path = to_view(item, modality, cache_dir=cache_dir)
    try:
        image = LoadImage(image_only=True, ensure_channel_first=True)(str(path))
        affine = grid_of(path)[1]
    except Exception as error:  # damaged bytes make readers raise about anything
        raise BundleError(f"{path}: cannot be read ({type(error).__name__}); copy the scan again") from error
    voxels = np.nan_to_num(image[0].numpy(), posinf=0, neginf=0)
    whole = np.abs(voxels).max(initial=0) < 2**15 and np.array_equal(voxels, voxels.astype(np.int16))
    return for_viewer(voxels.astype(np.int16 if whole else np.float32), affine)


def read_for_viewer(path: str | Path) -> bytes:
    """Returns a label map that this project wrote as a viewer gets it (see `for_viewer`)."""
    image: Any = nib.load(path)
    return for_viewer(np.asarray(image.dataobj, dtype=np.uint8), image.affine)


def for_viewer(voxels: np.ndarray, affine: np.ndarray) -> bytes:
    """Returns an uncompressed NIfTI-1 file that a viewer cannot misread, whatever the file of the scan is.

    Its axes run to the right, to the front and upwards, or nearly so; it has no header extension and no scaling.

    Args:
        voxels: (H, W, D), on the axes of the file.
        affine: of the file.
    """
    return to_nifti(turned(voxels, affine), _turned_affine(voxels.shape, affine))


def turned(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Brings voxels on the axes of the file with this affine to those of `for_viewer`."""
    orientation = nib.orientations.io_orientation(affine)
    return np.ascontiguousarray(nib.orientations.apply_orientation(voxels, orientation))


def from_viewer(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Brings voxels on the axes of `for_viewer` back to those of the file with this affine."""
    upright = np.array([[0, 1], [1, 1], [2, 1]])
    back = nib.orientations.ornt_transform(upright, nib.orientations.io_orientation(affine))
    return np.ascontiguousarray(nib.orientations.apply_orientation(voxels, back))


def viewer_grid(path: str | Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Returns shape and affine of what `for_viewer` makes of a file."""
    shape, affine = grid_of(path)
    order = nib.orientations.io_orientation(affine)[:, 0].argsort()
    return tuple(shape[axis] for axis in order), _turned_affine(shape, affine)


def grid_of(path: str | Path) -> tuple[tuple[int, ...], np.ndarray]:
    """Returns shape and affine of a 3D NIfTI file; a fourth axis of one voxel is left out."""
    scan: Any = nib.load(path)
    return tuple(scan.shape[:3]), scan.affine


def brain_of(item: Item) -> np.ndarray:
    """Returns where any modality of a case is not 0, (H, W, D)."""
    return np.asarray((LoadScansd("image")(cast(dict, item))["image"] != 0).any(dim=0))


def to_nifti(voxels: np.ndarray, affine: np.ndarray) -> bytes:
    """Returns an uncompressed NIfTI-1 file without extension or scaling."""
    return nib.Nifti1Image(voxels, affine).to_bytes()


def save(place: Path, voxels: np.ndarray, affine: np.ndarray) -> None:
    """Writes a compressed NIfTI-1 file, complete or not at all, and makes its folder.

    Raises:
        BundleError: where it cannot be written.
    """
    write_atomically(place, igzip.compress(to_nifti(voxels, affine), 1))


def _turned_affine(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    return affine @ nib.orientations.inv_ornt_aff(nib.orientations.io_orientation(affine), shape)


def _limit(folder: Path, size: int, *, keep: Path) -> None:
    files = sorted(folder.glob("*.nii.gz"), key=lambda file: file.stat().st_mtime_ns)
    excess = sum(file.stat().st_size for file in files) - size
    for file in files:
        if excess > 0 and file != keep:
            excess -= file.stat().st_size
            file.unlink()
