# SPDX-License-Identifier: Apache-2.0
"""Reads every file of a case and reports the first fault, naming file and remedy."""

from __future__ import annotations

import itertools
import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from isal import igzip
from monai.data import ITKReader
from monai.data.utils import correct_nifti_header_if_necessary
from monai.utils import optional_import
from nibabel.volumeutils import apply_read_scaling
from tqdm.contrib.concurrent import thread_map

from scripts.base.errors import BundleError, one_line
from scripts.brats import Item
from scripts.data.background import SAMPLES, check_skull
from scripts.data.containers import refuse_misnamed
from scripts.data.discovery import files_of, hash_item
from scripts.data.label_meaning import check_tissues, explain_odd, round_labels, tissues_of

itk, _ = optional_import("itk")

RULES = 3  # increased whenever the checks find what they did not find before
AFFINE_TOLERANCE = 1e-3
GRID_TOLERANCE = 0.05  # mm at a corner between volumes of a case, as for DICOM
# A header beyond these limits is damaged, or its volume would not fit in memory: a BraTS volume has 240 voxels of 1 mm
# along an axis and 9 million in total.
MAX_AXIS = 1024
MAX_VOXELS = 2**27
MAX_EXTENT = 600.0  # mm along an axis
MIN_SPACING = 0.1  # mm
MAX_VALUES = 20  # of a block of a label map, more than any has
MAX_CODE = 5  # of sform and qform in NIfTI-1 and -2
BLOCK = 2**20  # bytes read at once, or a slice, so that a check's memory hardly depends on a header


class Finding(NamedTuple):
    """What reading a case found: its first fault in words, and the values of its label map but 0."""

    fault: str | None
    values: tuple[float, ...] = ()


def check_case(item: Item) -> str | None:
    """Reads every file of a case and returns its first fault, naming file and remedy, or None where it is sound."""
    return examine_case(item).fault


def examine_case(item: Item) -> Finding:
    """Reads every file of a case.

    Faults are: the item's own `fault`; a file that cannot be read in full; a header with an absurd size or spacing; a
    volume that is not 3D (or not 4D with four modalities, where the image is one file); affine, sform, qform and pixdim
    that contradict each other; modalities or label on different grids; voxels that are not finite; a modality with one
    value everywhere, or that is not a brain alone on a uniform background; and label values that mean no tissue.
    """
    if "fault" in item:
        return Finding(item["fault"])
    values: set[float] = set()
    try:
        images = [_read(path) for path in item["image"]]
        for image in images:
            _check_image(image, one_file=len(images) == 1)
            _check_grid(image, images[0])
        if "label" in item:
            label = _read(item["label"], labels=True)
            _check_label(label, item)
            _check_grid(label, images[0])
            values = label.values
    except BundleError as fault:
        return Finding(one_line(fault))
    return Finding(None, tuple(sorted(values)))


def check_cases(items: Sequence[Item], *, cache_dir: str | None = None) -> dict[str, str]:
    """Checks the cases in parallel, with a progress bar, and returns the fault of each broken one by its id.

    Args:
        items: the cases.
        cache_dir: folder that remembers sound cases, so that only new and changed ones are read; None for none.

    Raises:
        BundleError: where `cache_dir` cannot be written, or all label maps are binary masks.
    """
    check = partial(_check_unless_known, cache_dir=cache_dir)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1  # not on macOS
    findings = thread_map(check, items, max_workers=min(8, cores), desc="checking cases", unit="case", disable=None)
    check_tissues([(item, found.values) for item, found in zip(items, findings) if not found.fault and "label" in item])
    return {item["case"]: found.fault for item, found in zip(items, findings) if found.fault is not None}


class _Volume(NamedTuple):
    path: str
    shape: tuple[int, ...]
    affine: np.ndarray
    finite: bool
    constant: dict[int, float]  # the value of each channel that has no other
    thinned: dict[int, np.ndarray]  # every `step`th voxel of each channel along each axis
    step: int
    values: set[float]  # of a label map, up to rounding


def _check_unless_known(item: Item, *, cache_dir: str | None) -> Finding:
    if cache_dir is None:
        return examine_case(item)
    mark = Path(cache_dir, f"sound_cases_{RULES}", hash_item(item).decode())
    with suppress(OSError, ValueError):
        return Finding(None, tuple(map(float, mark.read_text().split())))
    found = examine_case(item)
    if found.fault is None:
        try:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text(" ".join(map(str, found.values)))
        except OSError as error:
            raise BundleError(f"cache_dir {cache_dir}: cannot be written ({error.strerror}); choose another") from error
    return found


def _check_image(image: _Volume, *, one_file: bool) -> None:
    if len(image.shape) < 3 or image.shape[3:] != ((4,) if one_file else ()):
        single = "a modality must be 3D, save it as one volume"
        allowed = "an image in one file must be 4D with 4 modalities" if one_file else single
        raise BundleError(f"{image.path}: shape {image.shape}; {allowed}")
    for channel, value in image.constant.items():
        raise BundleError(f"{image.path}: modality {channel} in it is {value:g} everywhere; export the scan again")
    spacing = image.step * np.linalg.norm(image.affine[:3, :3], axis=0)
    for channel, modality in image.thinned.items():
        try:
            check_skull(modality, spacing)
        except BundleError as error:
            name = f"{image.path}: modality {channel} in it" if one_file else f"{image.path}:"
            raise BundleError(f"{name} {error}") from error


def _check_label(label: _Volume, item: Item) -> None:
    if len(label.shape) > 3:
        raise BundleError(
            f"{label.path}: has {label.shape[3]} channels, one-hot or region by region; save it as one label map"
        )
    try:
        odd = label.values - {0, *tissues_of(item)}
    except BundleError as error:
        raise BundleError(f"{label.path}: {error}") from error
    if odd:
        raise BundleError(f"{label.path}: {explain_odd(odd, item)}")


def _check_grid(volume: _Volume, first: _Volume) -> None:
    shape, expected, other = volume.shape, first.shape[:3], Path(first.path).name
    if shape[:3] != expected or (volume is not first and len(shape) != 3):
        raise BundleError(f"{volume.path}: shape {shape}, but {other} has {expected}; resample it to the same grid")
    corners = np.array([*itertools.product(*((0, edge - 1) for edge in expected), [1])])
    off = np.linalg.norm((volume.affine - first.affine) @ corners.T, axis=0).max()
    if off > GRID_TOLERANCE:
        raise BundleError(
            f"{volume.path}: its affine places voxels up to {off:.3g} mm beside those of {other}; register the two"
        )


def _read(path: str, *, labels: bool = False) -> _Volume:
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


def _read_nifti(path: str, labels: bool) -> _Volume:
    image: Any = nib.load(path)
    _check_header(image.shape, image.affine, image.get_data_dtype())
    with (igzip.open if path.lower().endswith(".gz") else open)(path, "rb") as stream:
        header = type(image.header).from_fileobj(stream, check=False)
        _check_forms(image, header, loaded=correct_nifti_header_if_necessary(nib.load(path)).affine)
        return _survey(path, image.shape, image.affine, _blocks(stream, image.dataobj), labels)


def _read_itk(path: str, labels: bool) -> _Volume:
    first = files_of(path)[0]
    header = itk.ImageIOFactory.CreateImageIO(first, itk.CommonEnums.IOFileMode_ReadMode)
    header.SetFileName(first)
    header.ReadImageInformation()
    axes = range(header.GetNumberOfDimensions())
    spacing = np.diag([*(header.GetSpacing(axis) for axis in axes), *([1.0] * (4 - len(axes)))])
    _check_header([header.GetDimensions(axis) for axis in axes], spacing, np.dtype(np.uint8))
    reader = ITKReader()
    array, meta = reader.get_data(reader.read(path))
    channels = np.moveaxis(array, 3, 0) if array.ndim == 4 else array[None]
    return _survey(path, array.shape, meta["affine"], enumerate(channels), labels)


def _check_header(shape: Sequence[int], affine: np.ndarray, dtype: np.dtype) -> None:
    if dtype.kind not in "biuf":
        raise BundleError(f"voxels of type {dtype}; only real numbers are allowed, convert it")
    if not all(0 < axis <= MAX_AXIS for axis in shape) or math.prod(shape[:3]) > MAX_VOXELS or len(shape) > 5:
        limits = f"1 to {MAX_AXIS} voxels along an axis and {MAX_VOXELS >> 20} Mi in all"
        raise BundleError(f"its header announces the shape {tuple(shape)}; allowed are {limits}; correct it")
    axes = affine[:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    extent = spacing[: len(shape)] * shape[:3]
    flat = abs(np.linalg.det(axes)) < 0.1 * spacing.prod()
    if not (spacing.min() >= MIN_SPACING and extent.max() <= MAX_EXTENT) or flat:  # NaN compares as false
        limits = f"voxels of at least {MIN_SPACING} mm and {MAX_EXTENT:g} mm along an axis"
        raise BundleError(f"its header announces voxels of {_listed(spacing)} mm; allowed are {limits}; correct it")


def _check_forms(image: Any, header: Any, *, loaded: np.ndarray) -> None:
    """Compares a header's redundant entries.

    NiBabel and MONAI each correct a header in their own way: `header` is the file's own, and `loaded` is the affine
    that MONAI's transforms use, which differs from NiBabel's where affine and pixdim differ slightly.
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
        raise BundleError(f"its affine and pixdim disagree about the voxels ({found}); correct the header")
    if all(codes):
        sform, qform = image.get_sform(), image.get_qform()
        # a head that is turned or moved is harmless; a mirrored one, or another axis, is not
        if ((sform * qform)[:3, :3].sum(axis=0) < 0.5 * spacing**2).any():
            found = " and ".join("".join(nib.aff2axcodes(form)) for form in (sform, qform))
            raise BundleError(f"its sform and qform disagree ({found}); set the code of the wrong one to 0")


def _survey(
    path: str,
    shape: Sequence[int],
    affine: np.ndarray,
    blocks: Iterable[tuple[int, np.ndarray]],
    labels: bool,
) -> _Volume:
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
    return _Volume(path, _without_ones(shape), affine, finite, constant, whole, step, values)


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


def _listed(sizes: np.ndarray) -> str:
    return " x ".join(f"{size:.3g}" for size in sizes)
