# SPDX-License-Identifier: Apache-2.0
"""How sure a segmentation is, and which measure of it leads the review: the only place that decides this."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.brats import NOT_FOR_DIAGNOSIS, REGION_VALUES, REGIONS, TISSUE_VALUES
from scripts.evaluation.metrics.surface_distances import distance_within
from scripts.evaluation.reliability.scores import ZONES, entropy

Metrics = dict[str, Any]
# The order of cases, the first slice to look at and the map use the entropy of the segmenter's own probabilities:
# within 10 mm of a region the critic finds wrong voxels as well, and no better (docs/critic.md).
LEADS = "mean_entropy"
NAME = "uncertainty"
MEASURED = (
    "Uncertainty is the entropy of the network's own probabilities. On 8 held-out patients it told wrong voxels within "
    "10 mm of a region with an AUROC of 0.87, and so did the critic. It orders cases weakly: its rank correlation with "
    "the error (1 - Dice) was 0.12 (TC), 0.62 (WT) and 0.17 (ET)."
)


def review_metrics(
    labels: np.ndarray, probabilities: np.ndarray, confidence: np.ndarray, *, spacing: Sequence[float]
) -> Metrics:
    """Says how sure critic and segmenter are of a segmentation, and where to look first.

    Args:
        labels: the label map (H, W, D) of the values of `TISSUE_VALUES`.
        probabilities: of TC, WT and ET (3, H, W, D), from which it came.
        confidence: the critic's of TC, WT and ET (3, H, W, D).
        spacing: of the voxels in mm.

    Returns:
        `mean_confidence` (the critic's) and `mean_entropy` (nats) of each region, within 10 mm of it, None where
        nothing was predicted; `volumes_ml` of each tissue and region; `slice`, the axial one (the third axis) with the
        largest sum of uncertainty near the regions, None where nothing was predicted; and a `note`.
    """
    regions = np.stack([np.isin(labels, values) for values in REGION_VALUES.values()])
    near = _near(regions, spacing)
    means: dict[str, dict[str, float | None]] = {"mean_confidence": {}, "mean_entropy": {}}
    for name, zone, of_critic, of_network in zip(REGIONS, near, confidence, probabilities):
        measures = {"mean_confidence": of_critic[zone], "mean_entropy": entropy(of_network[zone])}
        for measure, values in measures.items():
            means[measure][name] = float(values.mean()) if values.size else None
    millilitres = float(np.prod(spacing)) / 1000
    volumes = {name: float((labels == value).sum() * millilitres) for name, value in TISSUE_VALUES.items()}
    volumes |= {name: float(region.sum() * millilitres) for name, region in zip(REGIONS, regions)}
    per_slice = np.where(near, entropy(probabilities), 0).sum(axis=(0, 1, 2))
    first = {"axis": 2, "index": int(per_slice.argmax())} if regions.any() else None
    return {**means, "volumes_ml": volumes, "slice": first, "note": NOT_FOR_DIAGNOSIS}


def uncertainty_map(labels: np.ndarray, probabilities: np.ndarray, *, spacing: Sequence[float]) -> np.ndarray:
    """Returns the uncertainty (H, W, D) in percent of its maximum, of the region that is least certain.

    It is 0 farther than 10 mm from what was segmented, where nothing was measured of it.

    Args:
        labels: the label map (H, W, D).
        probabilities: of TC, WT and ET (3, H, W, D).
        spacing: of the voxels in mm.
    """
    near = _near(np.stack([np.isin(labels, values) for values in REGION_VALUES.values()]), spacing)
    share = np.where(near, entropy(probabilities), 0).max(axis=0) / math.log(2)
    return np.rint(share * 100).clip(0, 100).astype(np.uint8)


def score(metrics: Mapping[str, Any], measure: str = LEADS) -> float | None:
    """Returns a case's score: the mean of a measure over the regions that were predicted, None where none was."""
    values = [value for value in metrics[measure].values() if value is not None]
    return float(np.mean(values)) if values else None


def _near(regions: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    reach = ZONES["neighbourhood"]
    return np.stack([region | (distance_within(region, spacing, reach=reach) < np.inf) for region in regions])
