# SPDX-License-Identifier: Apache-2.0
"""How sure a segmentation is."""

from __future__ import annotations

import numpy as np
import pytest

from scripts.brats import TISSUE_VALUES
from scripts.label_app.confidence import review_metrics, score, uncertainty_map
from tests.tolerances import FLOAT32


def make_cube() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, probabilities and the critic's confidence: slice 12 is the least certain."""
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[10:14, 10:14, 10:14] = 2
    labels[11:13, 11:13, 11:13] = 1
    probabilities = np.full((3, 40, 40, 40), 0.01)
    probabilities[1, :, :, 12] = 0.5
    probabilities[1, :, :, 35] = 0.5  # beyond 10 mm of the tumour
    confidence = np.full((3, 40, 40, 40), 0.75)
    return labels, probabilities, confidence


def voxels_near(region: np.ndarray, spacing: tuple[float, ...]) -> int:
    """Voxels within 10 mm of a region, by comparing all with all."""
    points = np.argwhere(np.ones_like(region)) * spacing
    near = [np.linalg.norm(points - place * spacing, axis=1) <= 10 for place in np.argwhere(region)]
    return int(np.any(near, axis=0).sum())


def test_metrics_of_a_cube_by_hand() -> None:
    labels, probabilities, confidence = make_cube()
    metrics = review_metrics(labels, probabilities, confidence, spacing=(1.0, 1.0, 2.0))
    assert metrics["volumes_ml"] == pytest.approx(
        dict(zip((*TISSUE_VALUES, "TC", "WT", "ET"), (0.016, 0.112, 0, 0.016, 0.128, 0)))
    )
    assert metrics["slice"] == {"axis": 2, "index": 12}
    assert metrics["mean_confidence"]["TC"] == pytest.approx(0.75)
    certain = -0.01 * np.log(0.01) - 0.99 * np.log(0.99)
    # a mean in float32: of 16 numbers at a time, then in pairs, NumPy rounds some 25 sums one after another
    assert metrics["mean_entropy"]["TC"] == pytest.approx(certain, rel=7 * FLOAT32)
    assert certain < metrics["mean_entropy"]["WT"] < np.log(2)
    assert metrics["mean_entropy"]["ET"] is None
    # of the core: 8 voxels of it, each a core with 0.01, and of n voxels around them each with 0.01
    around = voxels_near(labels == 1, (1.0, 1.0, 2.0))
    hits, missed = 8 * 0.01, 0.01 * (around - 8)
    assert metrics["expected_dice"]["TC"] == pytest.approx(2 * hits / (8 + hits + missed))
    assert metrics["expected_dice"]["ET"] is None
    assert score(metrics) == pytest.approx((metrics["expected_dice"]["TC"] + metrics["expected_dice"]["WT"]) / 2)
    entropies = metrics["mean_entropy"]
    assert score(metrics, "mean_entropy") == pytest.approx((entropies["TC"] + entropies["WT"]) / 2)


def test_the_map_is_of_the_least_certain_region_and_empty_where_nothing_was_measured() -> None:
    labels, probabilities, _ = make_cube()
    shown = uncertainty_map(labels, probabilities, spacing=(1.0, 1.0, 2.0))
    certain = round(100 * (-0.01 * np.log(0.01) - 0.99 * np.log(0.99)) / np.log(2))
    assert shown[12, 12].tolist() == [0] * 5 + [certain] * 7 + [100] + [certain] * 6 + [0] * 21
    assert shown[39, 39].max() == 0


def test_of_nothing_there_is_no_metric() -> None:
    empty = np.zeros((4, 4, 4)), np.zeros((3, 4, 4, 4))
    metrics = review_metrics(*empty, np.ones((3, 4, 4, 4)), spacing=(1, 1, 1))
    assert metrics["slice"] is None
    assert score(metrics) is None
    assert uncertainty_map(*empty, spacing=(1, 1, 1)).max() == 0
