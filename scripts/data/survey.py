# SPDX-License-Identifier: Apache-2.0
"""Reads every voxel of a volume once, in little memory, and keeps what the checks need of it."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from isal import igzip
from monai.data import ITKReader
from monai.data.utils import correct_nifti_header_if_necessary
from monai.utils import optional_import
from nibabel.volumeutils import apply_read_scaling

from scripts.base.errors import BundleError
from scripts.data.background import SAMPLES
from scripts.data.containers import refuse_misnamed
from scripts.data.headers import check_forms, check_header, check_units
from scripts.data.item_files import files_of
from scripts.data.label_meaning import round_labels

itk, _ = optional_import("itk")

MAX_VALUES = 20  # of a block of a label map, more than any has
BLOCK = 2**20  # bytes read at once, or a slice, so that a check's memory hardly depends on a header


class Survey(NamedTuple):
    """What reading a volume found.

    Attributes:
        path: of the file, or of the folder of DICOM files.
        shape: without trailing axes of one voxel.
        affine: from voxels to mm.
        finite: whether all voxels are finite in float32.
        constant: the value of each channel that has no other.
        thinned: every `step`th voxel of each channel along each axis, of images.
        step: see `thinned`.
        values: of a label map but 0, up to rounding.
    """

    path: str
    shape: tuple[int, ...]
    affine: np.ndarray
    finite: bool
    constant: dict[int, float]
    thinned: dict[int, np.ndarray]
    step: int
    values: set[float]


def survey(path: str, *, labels: bool = False) -> Survey:
    """Reads a volume or a folder of DICOM files and returns what the checks need, the values only of label maps.

    Raises:
        BundleError: where it is missing, cannot be read, has voxels that are not finite real numbers, or an absurd
            geometry.
    """
    if not os.path.exists(path):
        raise BundleError(f"{path}: no such file; restore it or correct its path")
    if not (os.path.isfile(path) or os.path.isdir(path)):  # reading a pipe would block
        raise BundleError(f"{path}: is a pipe or a device, not a file; restore it or correct its path")
    if not os.access(path, os.R_OK):
        raise BundleError(f"{path}: cannot be read (Permission denied); grant access to it")
    try:
        if os.path.isfile(path):
            refuse_misnamed(path)
        volume = _read_nifti(path, labels) if path.lower().endswith((".nii", ".nii.gz")) else _read_itk(path, labels)
    except BundleError as fault:
        raise BundleError(f"{path}: {fault}") from fault
    except Exception as error:  # damaged bytes make readers raise about anything
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise BundleError(f"{path}: cannot be read, truncated or damaged ({reason}); copy it again") from error
    if not volume.finite:
        raise BundleError(f"{path}: has NaN or infinite voxels; set them to 0 or export the scan again")
    return volume


def _read_nifti(path: str, labels: bool) -> Survey:
    image: Any = nib.load(path)
    check_units(image.header)
    check_header(image.shape, image.affine, image.get_data_dtype())
    with (igzip.open if path.lower().endswith(".gz") else open)(path, "rb") as stream:
        header = type(image.header).from_fileobj(stream, check=False)
        check_forms(image, header, loaded=correct_nifti_header_if_necessary(nib.load(path)).affine)
        return _survey(path, image.shape, image.affine, _blocks(stream, image.dataobj), labels)


def _read_itk(path: str, labels: bool) -> Survey:
    first = files_of(path)[0]
    header = itk.ImageIOFactory.CreateImageIO(first, itk.CommonEnums.IOFileMode_ReadMode)
    header.SetFileName(first)
    header.ReadImageInformation()
    axes = range(header.GetNumberOfDimensions())
    spacing = np.diag([*(header.GetSpacing(axis) for axis in axes), *([1.0] * (4 - len(axes)))])
    check_header([header.GetDimensions(axis) for axis in axes], spacing, np.dtype(np.uint8))
    reader = ITKReader()
    array, meta = reader.get_data(reader.read(path))
    channels = np.moveaxis(array, 3, 0) if array.ndim == 4 else array[None]
    return _survey(path, array.shape, meta["affine"], enumerate(channels), labels)


def _survey(
    path: str,
    shape: Sequence[int],
    affine: np.ndarray,
    blocks: Iterable[tuple[int, np.ndarray]],
    labels: bool,
) -> Survey:
    finite = True
    values: set[float] = set()
    first: dict[int, float] = {}
    varied: set[int] = set()
    step = math.ceil((math.prod(shape[:3]) / SAMPLES) ** (1 / 3))
    thinned: dict[int, list[np.ndarray]] = defaultdict(list)
    seen: dict[int, int] = defaultdict(int)  # slices of each channel
    for channel, voxels in blocks:
        if not labels:
            with np.errstate(over="ignore"):
                thinned[channel].append(voxels[::step, ::step, -seen[channel] % step :: step].astype(np.float32))
            seen[channel] += voxels.shape[2]
        if voxels.dtype.kind == "f":
            with np.errstate(over="ignore"):  # volumes are loaded as float32; what overflows it counts as infinite
                finite = finite and bool(np.isfinite(voxels.astype(np.float32, copy=False)).all())
        value = first.setdefault(channel, voxels.flat[0].item())
        if channel not in varied and (voxels != value).any():
            varied.add(channel)
        if labels:
            values.update(round_labels(np.unique(voxels[voxels != 0]))[:MAX_VALUES].tolist())
    constant = {channel: value for channel, value in first.items() if channel not in varied}
    whole = {channel: np.concatenate(parts, axis=2) for channel, parts in thinned.items()}
    return Survey(path, _without_ones(shape), affine, finite, constant, whole, step, values)


def _blocks(stream: Any, proxy: Any) -> Iterator[tuple[int, np.ndarray]]:
    """Yields (channel, some of its slices) in the order of a NIfTI file.

    Raises:
        BundleError: where the file ends before its voxels do, or continues after them.
    """
    stream.seek(proxy.offset)
    width, height, depth = (*proxy.shape[:3], 1, 1)[:3]
    size = width * height * proxy.dtype.itemsize
    slices = max(1, BLOCK // size)
    for channel in range(math.prod(proxy.shape[3:])):
        for start in range(0, depth, slices):
            count = min(slices, depth - start)
            content = stream.read(count * size)
            if len(content) < count * size:
                raise BundleError("is truncated, it ends before its voxels do; copy it again")
            voxels = np.frombuffer(content, proxy.dtype).reshape((width, height, count), order="F")
            yield channel, apply_read_scaling(voxels, proxy.slope, proxy.inter)
    if stream.read(1):  # this also makes gzip verify its checksum
        raise BundleError("has more voxels than its header announces; correct the header")


def _without_ones(shape: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    return shape
