# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.brats import NOT_FOR_DIAGNOSIS, REGION_VALUES, REGIONS, TISSUE_VALUES
from scripts.evaluation.reliability.scores import ZONES, distance_within, entropy

Metrics = dict[str, Any]


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
        `mean_confidence` and `mean_entropy` of each region, within 10 mm of its surface or in it, None where nothing
        was predicted; `volumes_ml` of each label and region; `slice`, the axial one (the third axis) with the most
        doubt, summed over its voxels and the regions, None where nothing was predicted; and a `note`.
    """
    regions = np.stack([np.isin(labels, values) for values in REGION_VALUES.values()])
    near = [region | (distance_within(region, spacing, reach=ZONES["neighbourhood"]) < np.inf) for region in regions]
    means: dict[str, dict[str, float | None]] = {"mean_confidence": {}, "mean_entropy": {}}
    uncertainty = np.zeros(labels.shape[2])
    for name, inside, of_critic, p in zip(REGIONS, near, confidence, probabilities):
        measures = {"mean_confidence": of_critic[inside], "mean_entropy": entropy(p[inside])}
        for metric, values in measures.items():
            means[metric][name] = float(values.mean()) if values.size else None
        uncertainty += np.where(inside, 1 - of_critic, 0).sum(axis=(0, 1))
    millilitres = float(np.prod(spacing)) / 1000
    volumes = {name: float((labels == value).sum() * millilitres) for name, value in TISSUE_VALUES.items()}
    volumes |= {name: float(region.sum() * millilitres) for name, region in zip(REGIONS, regions)}
    looked_at = {"axis": 2, "index": int(uncertainty.argmax())} if regions.any() else None
    return {**means, "volumes_ml": volumes, "slice": looked_at, "note": NOT_FOR_DIAGNOSIS}


def overlay(confidence: np.ndarray) -> np.ndarray:
    """Gives one map (H, W, D) in percent of the critic's confidence (3, H, W, D): of the region it doubts most."""
    return np.rint(confidence.min(axis=0) * 100).clip(0, 100).astype(np.uint8)


def score(metrics: Mapping[str, Any], metric: str = "mean_confidence") -> float | None:
    """Gives a case's score: the mean of a metric over the regions that were predicted, None where none was."""
    values = [value for value in metrics[metric].values() if value is not None]
    return float(np.mean(values)) if values else None
