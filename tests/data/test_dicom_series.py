# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from scripts.base.errors import BundleError
from scripts.data.dicom_series import read_series, to_frames
from tests.dicom_builder import OBLIQUE, Grid, make_instances, save_instances

pytest.importorskip("highdicom", reason="highdicom is not installed: requirements-dicom.txt")

SHAPE = (3, 4, 5)
FRAMES = np.random.default_rng(0).choice([0, 1, 2, 4], SHAPE).astype(np.uint8)


def make_map(turn: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """The label map and its RAS affine whose axes are those of FRAMES after flips and swaps."""
    labels = nib.orientations.apply_orientation(FRAMES, turn)
    # an affine that fits the centres of all pixels: which pixel a voxel is tells the map of running numbers
    numbers = nib.orientations.apply_orientation(np.arange(FRAMES.size).reshape(SHAPE), turn)
    places = np.array([grid.places(*np.unravel_index(number, SHAPE)) for number in numbers.ravel()]) * [-1, -1, 1]
    voxels = np.argwhere(np.ones(labels.shape))
    fit, *_ = np.linalg.lstsq(np.c_[voxels, np.ones(len(voxels))], places, rcond=None)
    return labels, np.vstack([fit.T, [0, 0, 0, 1]])


@given(
    axes=st.permutations([0, 1, 2]),
    flips=st.tuples(*[st.sampled_from([1, -1])] * 3),
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    upwards=st.booleans(),
)
def test_any_order_and_direction_of_axes_is_undone(
    axes: list[int], flips: tuple[int, ...], angles: tuple[float, ...], upwards: bool
) -> None:
    orientation = tuple(Rotation.from_euler("xyz", angles, degrees=True).as_matrix()[:, :2].T.ravel())
    grid = Grid(orientation, upwards=upwards)
    labels, affine = make_map(np.c_[axes, flips], grid)
    np.testing.assert_array_equal(to_frames(labels, affine, make_instances(FRAMES, grid)), FRAMES)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_map_beside_the_series_is_refused(axis: int) -> None:
    labels, affine = make_map(np.c_[[2, 1, 0], [1, 1, 1]], Grid())
    affine[axis, 3] += 0.2
    with pytest.raises(BundleError, match=r"scan 1 lies 0\.20 mm beside"):
        to_frames(labels, affine, make_instances(FRAMES, Grid()))
    labels, affine = make_map(np.c_[[2, 1, 0], [1, 1, 1]], Grid())
    with pytest.raises(BundleError, match=r"has \(3, 4, 5\) pixels, the label map \(2, 4, 5\)"):
        to_frames(labels[..., :2], affine, make_instances(FRAMES, Grid()))


@pytest.mark.parametrize("grid", [Grid(), Grid(upwards=False), Grid(OBLIQUE)])
def test_instances_are_sorted_along_their_normal(grid: Grid, tmp_path: Path) -> None:
    instances = make_instances(FRAMES, grid)
    (tmp_path / "notes.txt").write_text("no instance")
    (tmp_path / "older").mkdir()
    found = read_series(save_instances(tmp_path, instances, names=[1, 2, 0]))
    numbers = [instance.InstanceNumber for instance in found]
    assert numbers in ([1, 2, 3], [3, 2, 1])
    assert "PixelData" not in found[0]


def _other_series(instances: list[Any]) -> None:
    instances[0].SeriesInstanceUID = "1.9"


def _multi_frame(instances: list[Any]) -> None:
    instances[0].NumberOfFrames = 2


def _without_position(instances: list[Any]) -> None:
    del instances[1].ImagePositionPatient


def _twice(instances: list[Any]) -> None:
    instances[1].ImagePositionPatient = instances[0].ImagePositionPatient


def _with_a_gap(instances: list[Any]) -> None:
    del instances[1:3]


def _turned(instances: list[Any]) -> None:
    instances[2].ImageOrientationPatient = list(OBLIQUE)


def _alone(instances: list[Any]) -> None:
    del instances[1:]


def _none(instances: list[Any]) -> None:
    del instances[:]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_other_series, "holds 2 series"),
        (_multi_frame, "is multi-frame"),
        (_without_position, "lacks the position of a slice"),
        (_twice, "1 of its slices are there twice"),
        (_with_a_gap, "a slice is missing"),
        (_turned, "turned or out of place"),
        (_alone, "a slice is missing"),
        (_none, "holds no DICOM instance"),
    ],
)
def test_what_is_no_stack_is_refused(spoil: Callable[[list[Any]], None], message: str, tmp_path: Path) -> None:
    instances = make_instances(np.zeros((6, 4, 5)), Grid())
    spoil(instances)
    folder = save_instances(tmp_path / "t1ce", instances)
    with pytest.raises(BundleError, match=f"t1ce: {message}|t1ce: .*{message}"):
        read_series(folder)
