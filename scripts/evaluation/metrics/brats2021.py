# SPDX-License-Identifier: Apache-2.0
"""The scoring rules of BraTS 2021, on which all others are built."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from scripts.evaluation.metrics.calibration import calibration_error
from scripts.evaluation.metrics.lesions import DILATIONS, count_lesions
from scripts.evaluation.metrics.surface_distances import (
    bounding_box,
    hausdorff_95,
    pooled_hausdorff_95,
    surface_dice,
    surface_distances,
)

TOLERANCE = 1.0  # mm, of the surface Dice


class Brats2021:
    """One region of one case and its metrics by the rules of BraTS 2021, those of the paper.

    Each metric is a method of the same name, which computes it. With true and false positives and negatives in voxels:

    | region        | dice              | hd95      | sensitivity  | specificity  | surface_dice |
    |---------------|-------------------|-----------|--------------|--------------|--------------|
    | in both masks | 2TP / (2TP+FP+FN) | in mm     | TP / (TP+FN) | TN / (TN+FP) | at 1 mm      |
    | in one only   | 0                 | 373.13 mm | 0            | TN / (TN+FP) | 0            |
    | in neither    | 1                 | 0         | 1            | 1            | 1            |

    There are two 95th percentiles of the Hausdorff distance, which can differ by a factor of ten. `hd95` is the larger
    of the two directed percentiles, as in MONAI, DeepMind's surface-distance and the challenge of 2023;
    `pooled_hd95` is the percentile of the distances of both directions together, as in medpy, panoptica and the
    challenge of 2025. Both are treated alike if a mask is empty.

    No case is ever left out: an invented region has sensitivity 0, although it has no true voxel. If no voxel is
    negative, specificity is 1. `lesions` counts 26-connected components. `calibration_error` is NaN without
    probabilities, and if the region is in neither mask.

    Args:
        prediction: boolean mask (H, W, D).
        truth: boolean mask of the same shape.
        spacing: voxel size in mm along each axis.
        probabilities: probabilities of the region, of the same shape.
    """

    metrics: tuple[str, ...] = (
        *("dice", "hd95", "pooled_hd95", "sensitivity", "specificity", "surface_dice"),
        *("volume_ml", "true_volume_ml", "lesions", "true_lesions", "calibration_error"),
    )
    headline = "dice"  # the metric that an evaluator is ranked by
    # mm, for a missed or an invented region: the diagonal of a BraTS volume, 373.13
    worst_hd95 = math.dist((0, 0, 0), (240, 240, 155))
    # of a region in neither mask
    absent_overlap = 1.0
    absent_distance = 0.0
    description = (
        "BraTS 2021. A region that only one of prediction and truth has scores Dice 0 and HD95 373.13 mm; "
        "one that neither has scores Dice 1 and HD95 0. No case is left out."
    )

    def __init__(
        self,
        prediction: np.ndarray,
        truth: np.ndarray,
        *,
        spacing: Sequence[float],
        probabilities: np.ndarray | None = None,
    ) -> None:
        self.whole_prediction, self.whole_truth, self.probabilities = prediction, truth, probabilities
        self.spacing = spacing
        # voxels outside of the box only add to the negatives
        box = bounding_box(prediction | truth, [DILATIONS] * 3)
        self.prediction, self.truth = prediction[box], truth[box]
        masks = (self.prediction, self.truth, self.prediction & self.truth)
        self.predicted, self.actual, self.hits = (int(np.count_nonzero(mask)) for mask in masks)
        self.negatives = truth.size - self.actual

    @cached_property
    def distances(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Surface distances in mm of prediction and truth, or None if one is empty; see `surface_distances`."""
        if not self.predicted or not self.actual:
            return None
        return surface_distances(self.prediction, self.truth, spacing=self.spacing)

    def dice(self) -> float:
        return self._overlap(2 * self.hits, self.predicted + self.actual)

    def hd95(self) -> float:
        return self._distance_without_overlap() if self.distances is None else hausdorff_95(self.distances)

    def pooled_hd95(self) -> float:
        return self._distance_without_overlap() if self.distances is None else pooled_hausdorff_95(self.distances)

    def sensitivity(self) -> float:
        return self._overlap(self.hits, self.actual or self.predicted)

    def specificity(self) -> float:
        return (self.negatives - (self.predicted - self.hits)) / self.negatives if self.negatives else 1.0

    def surface_dice(self) -> float:
        if self.distances is None:
            return self._overlap(0, self.predicted + self.actual)
        return surface_dice(self.distances, tolerance=TOLERANCE)

    def volume_ml(self) -> float:
        return self.predicted * math.prod(self.spacing) / 1000

    def true_volume_ml(self) -> float:
        return self.actual * math.prod(self.spacing) / 1000

    def lesions(self) -> float:
        return count_lesions(self.prediction)

    def true_lesions(self) -> float:
        return count_lesions(self.truth)

    def calibration_error(self) -> float:
        near = self.whole_prediction | self.whole_truth
        if self.probabilities is None or not near.any():
            return math.nan
        return calibration_error(self.probabilities, self.whole_truth, near, spacing=self.spacing)

    def _overlap(self, part: int, whole: int) -> float:
        return part / whole if whole else self.absent_overlap

    def _distance_without_overlap(self) -> float:
        return self.worst_hd95 if self.predicted or self.actual else self.absent_distance
