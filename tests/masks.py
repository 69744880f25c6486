# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st
from nibabel.nifti1 import Nifti1Image
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

REAL_CASES = Path(__file__).parents[2] / "shared" / "brats_cases"
STRIDES = (5, 4, 3)  # of the real cases' voxels, so that brute force is quick; also their spacing in mm
WORST = {"brats2021": (240**2 + 240**2 + 155**2) ** 0.5, "brats2023": 374.0, "brats2025": 373.0}
needs_real_cases = pytest.mark.skipif(not REAL_CASES.is_dir(), reason=f"no labelled cases at {REAL_CASES}")
spacings = st.tuples(*[st.floats(0.3, 4)] * 3)


@st.composite
def blobs(draw: st.DrawFn, edge: int = 7) -> np.ndarray:
    """Three regions, each a union of up to three ellipsoids: some are empty, some touch the border or have holes."""
    grid = np.indices((edge,) * 3)
    mask = np.zeros((3, edge, edge, edge), dtype=bool)
    triple = st.tuples(*[st.integers(0, edge - 1)] * 3)
    for region in mask:
        for centre, radii in draw(st.lists(st.tuples(triple, triple), max_size=3)):
            region ^= sum(((grid[a] - centre[a]) / (radii[a] + 0.5)) ** 2 for a in range(3)) <= 1
    return mask


@cache
def real_truths(count: int = 10) -> list[np.ndarray]:
    """Regions (3, H, W, D) of real patients, every fifth, fourth and third voxel of them."""
    paths = sorted(REAL_CASES.glob("*/*_seg.nii.gz"))[::4][:count]
    labels = [
        np.asarray(Nifti1Image.from_filename(path).dataobj)[:: STRIDES[0], :: STRIDES[1], :: STRIDES[2]]
        for path in paths
    ]
    return [np.stack([np.isin(label, (1, 4)), label > 0, label == 4]) for label in labels]


def distorted(truth: np.ndarray) -> Iterator[np.ndarray]:
    """Predictions that are wrong as networks are: shifted, eroded, split, emptied, sprinkled, swapped."""
    yield np.roll(truth, (1, 0, -1), (1, 2, 3))
    yield np.stack([binary_erosion(region) for region in truth])
    split = truth.copy()
    split[:, ::4] = split[..., ::5] = False
    yield split
    yield truth * np.array([True, True, False])[:, None, None, None]
    yield np.zeros_like(truth)
    yield truth | (np.random.default_rng(0).random(truth.shape) < 0.002)
    yield truth[::-1]


def real_pairs() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """70 pairs of prediction and truth, and 20 with a truth that is empty in a region or in all."""
    for truth in real_truths():
        for prediction in distorted(truth):
            yield prediction, truth
        not_enhancing = truth * np.array([True, True, False])[:, None, None, None]
        yield truth, not_enhancing
        yield not_enhancing, np.zeros_like(truth)


def surface(mask: np.ndarray) -> np.ndarray:
    """Indices of the region's voxels that have a face neighbour outside, which all that is outside the volume is."""
    padded = np.pad(mask, 1)
    inner = np.logical_and.reduce([np.roll(padded, step, axis) for axis in range(3) for step in (-1, 1)])
    return np.argwhere((padded & ~inner)[1:-1, 1:-1, 1:-1])


def brute_distances(prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> list[np.ndarray]:
    """From each surface voxel of one mask, over all surface voxels of the other, the least distance."""
    table = cdist(surface(prediction) * np.array(spacing), surface(truth) * np.array(spacing))
    return [table.min(axis=1), table.min(axis=0)]


def brute_hd95(prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> float:
    return max(percentile_95(d) for d in brute_distances(prediction, truth, spacing))


def percentile_95(values: np.ndarray) -> float:
    ordered = np.sort(values)
    below, share = divmod(0.95 * (len(ordered) - 1), 1)
    return ordered[int(below)] * (1 - share) + ordered[min(int(below) + 1, len(ordered) - 1)] * share
