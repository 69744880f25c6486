# SPDX-License-Identifier: Apache-2.0
"""Reads every file of a case and reports the first fault, naming file and remedy."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm.contrib.concurrent import thread_map

from scripts.base.errors import BundleError, one_line
from scripts.brats import MODALITIES, Item
from scripts.data.background import check_skull
from scripts.data.label_meaning import check_tissues, explain_odd, tissues_of
from scripts.data.sound_cases import recall, remember
from scripts.data.survey import Survey, survey

GRID_TOLERANCE = 0.05  # mm at a corner between volumes of a case, as for DICOM


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
        images = [survey(path) for path in item["image"]]
        for image in images:
            _check_image(image, one_file=len(images) == 1)
            _check_grid(image, images[0])
        if "label" in item:
            label = survey(item["label"], labels=True)
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


def _check_unless_known(item: Item, *, cache_dir: str | None) -> Finding:
    if cache_dir is None:
        return examine_case(item)
    if (values := recall(item, cache_dir)) is not None:
        return Finding(None, values)
    found = examine_case(item)
    if found.fault is None:
        remember(item, found.values, cache_dir)
    return found


def _check_image(image: Survey, *, one_file: bool) -> None:
    if len(image.shape) < 3 or image.shape[3:] != ((4,) if one_file else ()):
        single = "a modality must be 3D, save it as one volume"
        four = f"an image in one file must be 4D with 4 modalities, {', '.join(MODALITIES)}"
        allowed = four if one_file else single
        raise BundleError(f"{image.path}: shape {image.shape}; {allowed}")
    names = {channel: f"{image.path}:{f' modality {channel} in it' if one_file else ''}" for channel in image.thinned}
    for channel, value in image.constant.items():
        raise BundleError(f"{names[channel]} is {value:g} everywhere; export the scan again")
    spacing = image.step * np.linalg.norm(image.affine[:3, :3], axis=0)
    for channel, modality in image.thinned.items():
        try:
            check_skull(modality, spacing)
        except BundleError as error:
            raise BundleError(f"{names[channel]} {error}") from error


def _check_label(label: Survey, item: Item) -> None:
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


def _check_grid(volume: Survey, first: Survey) -> None:
    shape, expected, other = volume.shape, first.shape[:3], Path(first.path).name
    if shape[:3] != expected or (volume is not first and len(shape) != 3):
        remedy = "resample it to the same grid"
        if volume.path.lower().endswith(".seg.nrrd"):  # 3D Slicer cuts segmentations to what is drawn
            remedy = "in 3D Slicer, export it as a label map with the scan as reference volume"
        raise BundleError(f"{volume.path}: shape {shape}, but {other} has {expected}; {remedy}")
    corners = np.array([*itertools.product(*((0, edge - 1) for edge in expected), [1])])
    off = np.linalg.norm((volume.affine - first.affine) @ corners.T, axis=0).max()
    if off > GRID_TOLERANCE:
        raise BundleError(
            f"{volume.path}: its affine places voxels up to {off:.3g} mm beside those of {other}; register the two"
        )
