# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from monai.metrics import CalibrationErrorMetric
from scipy.spatial.distance import cdist

from scripts.evaluation.metrics.calibration import calibration_error
from tests.masks import blobs, spacings
from tests.tolerances import EXACT, FLOAT32


@settings(deadline=None, max_examples=50)
@given(truth=blobs(9), near=blobs(9), spacing=spacings, seed=st.integers(0, 99))
def test_error_equals_that_of_a_loop_over_the_voxels_near(
    truth: np.ndarray, near: np.ndarray, spacing: tuple[float, float, float], seed: int
) -> None:
    assume(near[0].any())
    p = np.random.default_rng(seed).random(truth[0].shape, dtype=np.float32)
    found = calibration_error(p, truth[0], near[0], spacing=spacing)
    voxels = np.argwhere(np.ones_like(near[0]))
    distance = cdist(voxels * np.array(spacing), np.argwhere(near[0]) * np.array(spacing)).min(axis=1)
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(20)]
    for voxel, how_far in zip(map(tuple, voxels), distance):
        if how_far <= 10:
            bins[int(float(p[voxel]) / 0.05)].append((float(p[voxel]), bool(truth[0][voxel])))
    gaps = [abs(sum(x for x, _ in members) - sum(y for _, y in members)) for members in bins]
    assert found == pytest.approx(sum(gaps) / sum(map(len, bins)), abs=EXACT)


def test_error_agrees_with_that_of_monai_where_all_is_near() -> None:
    generator = torch.Generator().manual_seed(0)
    p = torch.rand(8, 8, 8, generator=generator)
    y = torch.rand(8, 8, 8, generator=generator) < p**2
    metric = CalibrationErrorMetric(num_bins=20)
    metric(p[None, None], y[None, None])
    near = np.zeros((8, 8, 8), dtype=bool)
    near[4, 4, 4] = True
    found = calibration_error(p.numpy(), y.numpy(), near, spacing=(1, 1, 1))
    # MONAI adds 26 probabilities or so, on average 1/2, and 20 bins, up to 0.15, in float32: 26 / 2 + 20 * 0.15 units
    assert found == pytest.approx(metric.get_buffer().item(), abs=4 * FLOAT32)
    assert found > 0.1


def test_the_far_background_does_not_dilute_the_error() -> None:
    near = np.zeros((1, 1, 100), dtype=bool)
    near[..., 0] = True
    p = np.where(np.arange(100) < 11, 0.4, 0.0)[None, None]
    assert calibration_error(p, np.zeros_like(near), near, spacing=(1, 1, 1)) == pytest.approx(0.4)
    assert calibration_error(p, np.zeros_like(near), near, spacing=(1, 1, 0.5)) == pytest.approx(0.4 * 11 / 21)


def test_certain_and_right_is_no_error_and_certain_and_wrong_is_all() -> None:
    truth = np.zeros((5, 5, 5), dtype=bool)
    truth[1:3, 1:3] = True
    assert calibration_error(truth.astype(float), truth, truth, spacing=(1, 1, 1)) == 0
    assert calibration_error(1.0 - truth, truth, truth, spacing=(1, 1, 1)) == 1
