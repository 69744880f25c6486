# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from monai.data import ITKReader
from monai.utils import ensure_tuple, optional_import
from nibabel.openers import ImageOpener
from tqdm.contrib.concurrent import thread_map

from scripts.cases import Item, files_of, hash_item
from scripts.errors import BundleError
from scripts.transforms import LABEL_VALUES

itk, _ = optional_import("itk")

AFFINE_TOLERANCE = 1e-3
# A header that announces more than this is damaged: a BraTS volume has 240 voxels along an axis and 9 million in all.
MAX_AXIS = 1024
MAX_BYTES = 2**30


def check_case(item: Item) -> str | None:
    """Reads every file of a case and returns its first fault, naming file and remedy, or None where it is sound.

    Faults are: the item's own `fault`, a file that cannot be read in full, a header that announces an absurd size, not
    three dimensions (four, with four modalities, where the image is one file), modalities or label on different grids,
    voxels that are not finite, a modality that is 0 everywhere, and labels that the layout does not have.
    """
    if "fault" in item:
        return item["fault"]
    try:
        images = [_read(path) for path in ensure_tuple(item["image"])]
        for image in images:
            _check_image(image, one_file=isinstance(item["image"], str))
            _check_grid(image, images[0])
        if "label" in item:
            label = _read(item["label"])
            _check_label(label, layout=item["layout"])
            _check_grid(label, images[0])
    except BundleError as fault:
        return str(fault)
    return None


def check_cases(items: Sequence[Item], *, cache_dir: str | None = None) -> dict[str, str]:
    """Checks the cases in parallel, with a progress bar, and returns the fault of each broken one by its id.

    Args:
        items: the cases.
        cache_dir: folder that remembers sound cases, so that only new and changed ones are read; None for none.
    """
    check = partial(_check_unless_known, cache_dir=cache_dir)
    workers = min(8, os.cpu_count() or 1)
    faults = thread_map(check, items, max_workers=workers, desc="checking cases", unit="case", disable=None)
    return {item["case"]: fault for item, fault in zip(items, faults) if fault is not None}


class _Volume(NamedTuple):
    path: str
    array: np.ndarray
    affine: np.ndarray


def _check_unless_known(item: Item, *, cache_dir: str | None) -> str | None:
    if cache_dir is None:
        return check_case(item)
    mark = Path(cache_dir, "sound_cases", hash_item(item).decode())
    if mark.exists():
        return None
    fault = check_case(item)
    if fault is None:
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.touch()
    return fault


def _check_image(image: _Volume, *, one_file: bool) -> None:
    shape = image.array.shape
    if len(shape) < 3 or shape[3:] != ((4,) if one_file else ()):
        single = "a modality must be 3D, save it as one volume"
        allowed = "an image in one file must be 4D with 4 modalities" if one_file else single
        raise BundleError(f"{image.path}: shape {shape}; {allowed}")
    filled = np.any(image.array, axis=(0, 1, 2))
    if not filled.all():
        raise BundleError(f"{image.path}: modality {filled.argmin()} in it is 0 everywhere; export the scan again")


def _check_label(label: _Volume, *, layout: str) -> None:
    allowed = {0, *LABEL_VALUES[layout]}
    values = np.unique(label.array[label.array != 0]).tolist()
    if odd := [f"{value:g}" for value in values if value not in allowed]:
        found = ", ".join(odd[:5]) + (", ..." if len(odd) > 5 else "")
        remedy = f"in layout {layout}, told by the file names, {allowed} are allowed; correct labels or names"
        raise BundleError(f"{label.path}: has labels {found}; {remedy}")


def _check_grid(volume: _Volume, first: _Volume) -> None:
    shape, expected, other = volume.array.shape[:3], first.array.shape[:3], Path(first.path).name
    if shape != expected:
        raise BundleError(f"{volume.path}: shape {shape}, but {other} has {expected}; resample it to the same grid")
    if not np.allclose(volume.affine, first.affine, rtol=0, atol=AFFINE_TOLERANCE):
        off = np.abs(volume.affine - first.affine).max()
        raise BundleError(f"{volume.path}: affine differs from that of {other} by up to {off:.3g}; register the two")


def _read(path: str) -> _Volume:
    """Returns a volume or a folder of DICOM files, its voxels in their stored type."""
    if not os.path.exists(path):
        raise BundleError(f"{path}: no such file; restore it or correct its path")
    try:
        volume = _read_nifti(path) if path.lower().endswith((".nii", ".nii.gz")) else _read_itk(path)
    except Exception as error:  # damaged bytes make readers raise about anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise BundleError(f"{path}: cannot be read, truncated or damaged ({reason}); copy it again") from error
    if volume.array.dtype.kind not in "biuf":
        raise BundleError(f"{path}: voxels of type {volume.array.dtype}; only real numbers are allowed, convert it")
    if not np.isfinite(volume.array).all():
        raise BundleError(f"{path}: has NaN or infinite voxels; set them to 0 or export the scan again")
    return volume


def _read_nifti(path: str) -> _Volume:
    image: Any = nib.load(path)
    size = image.dataobj.offset + math.prod(image.shape) * image.get_data_dtype().itemsize
    _check_size(image.shape, size)
    with ImageOpener(path) as stream:
        # One byte past the voxels, because gzip compares its checksum only at the end of the stream.
        image = type(image).from_bytes(stream.read(size + 1))
    return _Volume(path, np.asanyarray(image.dataobj), image.affine)


def _read_itk(path: str) -> _Volume:
    first = files_of(path)[0]
    header = itk.ImageIOFactory.CreateImageIO(first, itk.CommonEnums.IOFileMode_ReadMode)
    header.SetFileName(first)
    header.ReadImageInformation()
    shape = [header.GetDimensions(axis) for axis in range(header.GetNumberOfDimensions())]
    _check_size(shape, header.GetImageSizeInBytes())
    reader = ITKReader()
    array, meta = reader.get_data(reader.read(path))
    return _Volume(path, array, meta["affine"])


def _check_size(shape: Sequence[int], size: int) -> None:
    if not all(0 < axis <= MAX_AXIS for axis in shape) or size > MAX_BYTES:
        limits = f"1 to {MAX_AXIS} voxels along an axis and {MAX_BYTES >> 20} MiB"
        raise ValueError(f"its header announces the shape {tuple(shape)}; allowed are {limits}")
