# SPDX-License-Identifier: Apache-2.0
"""How sure a segmentation is, and which measure of it leads the review: the only place that decides this."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.brats import NOT_FOR_DIAGNOSIS, REGION_VALUES, REGIONS, TISSUE_VALUES
from scripts.evaluation.metrics.surface_distances import distance_within
from scripts.evaluation.reliability.expected_dice import expectation
from scripts.evaluation.reliability.scores import ZONES, entropy

Metrics = dict[str, Any]
MEASURES = ("mean_confidence", "mean_entropy", "expected_dice")  # of each region
# The order of cases, the first slice to look at and the map use the segmenter's own probabilities: on held-out patients
# the Dice that they let expect orders cases a little better than that of the critic's confidence, and within 10 mm of a
# region their entropy finds wrong voxels as well as the critic, and no better (docs/critic.md).
LEADS = "expected_dice"
MEASURED = (
    "Cases are ordered by their expected Dice: the mean, over the regions that were found, of the Dice that the "
    "network's own probabilities let expect. On 8 held-out patients it ranked regions a little better than the "
    "critic's confidence did (docs/critic.md). As a number it is too far off, so it is told in words: low, middle and "
    "high are thirds of the cases listed here, no more. Within a case, uncertainty is the entropy of the same "
    "probabilities: within 10 mm of a region it orders voxels by how likely they are wrong about as well as the critic."
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
        `mean_confidence` (the critic's), `mean_entropy` (nats) and `expected_dice` (by the probabilities, see
        `expectation`) of each region, within 10 mm of it, None where nothing was predicted; `volumes_ml` of each
        tissue and region; `slice`, the axial one (the third axis) with the largest sum of uncertainty near the regions,
        None where nothing was predicted; and a `note`.
    """
    regions = np.stack([np.isin(labels, values) for values in REGION_VALUES.values()])
    near = _near(regions, spacing)
    measures: dict[str, dict[str, float | None]] = {}
    for name, region, zone, of_critic, of_network in zip(REGIONS, regions, near, confidence, probabilities):
        known = _measures(region[zone], of_critic[zone], of_network[zone].clip(0, 1)) if region.any() else {}
        for measure in MEASURES:
            measures.setdefault(measure, {})[name] = known.get(measure)
    millilitres = float(np.prod(spacing)) / 1000
    volumes = {name: float((labels == value).sum() * millilitres) for name, value in TISSUE_VALUES.items()}
    volumes |= {name: float(region.sum() * millilitres) for name, region in zip(REGIONS, regions)}
    per_slice = np.where(near, entropy(probabilities), 0).sum(axis=(0, 1, 2))
    first = {"axis": 2, "index": int(per_slice.argmax())} if regions.any() else None
    return {**measures, "volumes_ml": volumes, "slice": first, "note": NOT_FOR_DIAGNOSIS}


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


def _measures(region: np.ndarray, confidence: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    right = np.where(region, probabilities, 1 - probabilities)
    means = float(confidence.mean()), float(entropy(probabilities).mean())
    return dict(zip(MEASURES, (*means, expectation(region, right).dice)))


def _near(regions: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    reach = ZONES["neighbourhood"]
    return np.stack([region | (distance_within(region, spacing, reach=reach) < np.inf) for region in regions])
