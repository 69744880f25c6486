# SPDX-License-Identifier: Apache-2.0
"""DICOM series of a scan: reading, sorting, and label maps on their grid."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from typing import Any

import nibabel as nib
import numpy as np
from monai.utils import optional_import

from scripts.base.errors import BundleError
from scripts.data.item_files import files_of

pydicom, _ = optional_import("pydicom")
highdicom, _ = optional_import("highdicom")

TOLERANCE = 0.05  # mm at a corner: the effect of rounding in DICOM's decimal strings


def read_series(folder: str) -> list[Any]:
    """Returns the instances (pydicom data sets without pixels) of the one series in a folder, sorted by position.

    Raises:
        BundleError: where they are not one regular stack of single-frame instances.
    """
    instances = list(read_instances(folder))
    if len(series := {instance.get("SeriesInstanceUID") for instance in instances}) > 1:
        raise BundleError(f"{folder}: holds {len(series)} series; leave one in it")
    if any("NumberOfFrames" in instance for instance in instances):
        raise BundleError(f"{folder}: is multi-frame; convert it to an instance a slice")
    try:
        _, order = highdicom.spatial.get_series_volume_positions(instances, orientation_tol=1e-4)
        places = {tuple(instance.ImagePositionPatient) for instance in instances}
    except (AttributeError, TypeError, ValueError) as error:
        raise BundleError(f"{folder}: lacks the position of a slice ({error}); export it again") from error
    if order is None or len(instances) == 1:
        doubled = len(instances) - len(places)
        found = f"{doubled} of its slices are there twice" if doubled else "a slice is missing, turned or out of place"
        raise BundleError(f"{folder}: is not a regular stack of slices: {found}; export it again")
    return [instances[index] for index in np.argsort(order)]


def to_frames(labels: np.ndarray, affine: np.ndarray, instances: list[Any]) -> np.ndarray:
    """Reorders a label map (H, W, D) to the frames (slices, rows, columns) of a series by flipping and swapping axes.

    Args:
        labels: label map with values 0, 1, 2 and 3 or 4.
        affine: matrix (4, 4) from voxels to millimetres, RAS.
        instances: sorted instances of one series, from `read_series`.

    Raises:
        BundleError: where voxels and pixels do not coincide.
    """
    shape = (len(instances), instances[0].Rows, instances[0].Columns)
    grid = _grid(instances)
    affine = np.diag([-1, -1, 1, 1]) @ affine  # RAS to DICOM's LPS
    turn = nib.orientations.io_orientation(np.linalg.inv(grid) @ affine)
    frames = nib.orientations.apply_orientation(labels, turn)
    affine = affine @ nib.orientations.inv_ornt_aff(turn, labels.shape)
    if frames.shape != shape:
        raise BundleError(
            f"series {name_series(instances)} has {shape} pixels, the label map {frames.shape}; "
            "register the series to one grid and export them again"
        )
    corners = np.array([*itertools.product(*((0, edge - 1) for edge in shape), [1])])
    off = np.linalg.norm((affine - grid) @ corners.T, axis=0).max()
    if off > TOLERANCE:
        raise BundleError(
            f"series {name_series(instances)} lies {off:.2f} mm beside the label map; "
            "register the series to one grid and export them again"
        )
    return frames


def name_series(instances: list[Any]) -> str:
    """Returns the description of a series, or its UID where it has none."""
    return str(instances[0].get("SeriesDescription") or instances[0].SeriesInstanceUID)


def read_instances(folder: str) -> Iterator[Any]:
    """Yields the DICOM data sets in a folder without pixels; other files are skipped, as ITK's reader does."""
    found = False
    for file in filter(os.path.isfile, files_of(folder)):
        with contextlib.suppress(pydicom.errors.InvalidDicomError):
            yield pydicom.dcmread(file, stop_before_pixels=True)
            found = True
    if not found:
        raise BundleError(f"{folder}: holds no DICOM instance; put one series in it")


def _grid(instances: list[Any]) -> np.ndarray:
    """Returns the matrix (4, 4) from slice, row and column of sorted instances to millimetres, LPS."""
    first, last = (np.array(instance.ImagePositionPatient, float) for instance in (instances[0], instances[-1]))
    along_row, along_column = np.array(instances[0].ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, instances[0].PixelSpacing)
    steps = [(last - first) / (len(instances) - 1), along_column * between_rows, along_row * between_columns, first]
    return np.vstack([np.transpose(steps), [0, 0, 0, 1]])
