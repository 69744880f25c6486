# SPDX-License-Identifier: Apache-2.0
"""The scoring rules of the challenges: which metrics a region has, and what they are where a mask is empty."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from monai.metrics import (
    compute_confusion_matrix_metric,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from scripts.evaluation.metrics.calibration import calibration_error
from scripts.evaluation.metrics.lesions import DILATIONS, LesionWise, count_lesions, lesion_wise
from scripts.evaluation.metrics.matching import MatchedLesions, match_lesions
from scripts.evaluation.metrics.surface_distances import (
    bounding_box,
    hausdorff_95,
    normalised_surface_dice,
    pooled_hausdorff_95,
    surface_dice,
    surface_distances,
)

TOLERANCE = 1.0  # mm, of the surface Dice
WITHOUT_TRUTH = ("volume_ml", "lesions")


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


class Brats2023(Brats2021):
    """The rules of BraTS 2023: also lesion-wise metrics (see `lesions.lesion_wise`), and a worst HD95 of 374 mm."""

    metrics = (*Brats2021.metrics, "lesion_dice", "lesion_hd95", "missed_lesions", "false_lesions")
    headline = "lesion_dice"
    worst_hd95 = 374.0
    description = (
        "BraTS 2023, lesion by lesion. A missed or an invented lesion scores Dice 0 and HD95 374 mm. "
        "Metrics of the whole region are given as well."
    )

    @cached_property
    def lesion_wise(self) -> LesionWise:
        """Lesion-wise scores of the region."""
        return lesion_wise(self.prediction, self.truth, spacing=self.spacing, worst_hd95=self.worst_hd95)

    def lesion_dice(self) -> float:
        return self.lesion_wise.dice

    def lesion_hd95(self) -> float:
        return self.lesion_wise.hd95

    def missed_lesions(self) -> float:
        return self.lesion_wise.missed

    def false_lesions(self) -> float:
        return self.lesion_wise.false


class Brats2025(Brats2021):
    """The rules of BraTS 2025, as the challenge's package applies them for glioma.

    | region        | dice, nsd, matched_dice, matched_nsd | pooled_hd95, matched_hd95 |
    |---------------|--------------------------------------|---------------------------|
    | masks overlap | of the region, of matched lesions    | in mm                     |
    | they do not   | 0                                    | 373 mm                    |
    | in one only   | 0                                    | 373 mm                    |
    | in neither    | NaN, left out of means               | NaN, left out of means    |

    Lesions are matched one to one (see `matching.match_lesions`). `nsd` is the normalised surface Dice of the region;
    its tolerance, half of the smallest edge of a voxel, lets only surface voxels count that both masks share. The
    package measures distances of whole regions in voxels, here they are in mm: both are equal on BraTS's grid of 1 mm.
    """

    metrics = (
        *Brats2021.metrics,
        *("nsd", "matched_dice", "matched_nsd", "matched_hd95", "matched_lesions", "missed_lesions", "false_lesions"),
    )
    worst_hd95 = 373.0
    absent_overlap = absent_distance = math.nan
    description = (
        "BraTS 2025. A region that only one of prediction and truth has scores Dice 0 and HD95 373 mm; one that "
        "neither has is left out. Lesions are matched one to one: Dice, NSD and HD95 are means over matched lesions; "
        "missed and false lesions are counted. The challenge's HD95 is the pooled one."
    )

    @cached_property
    def matched(self) -> MatchedLesions:
        """Scores of the matched lesions of the region."""
        return match_lesions(self.prediction, self.truth, spacing=self.spacing, worst_hd95=self.worst_hd95)

    def nsd(self) -> float:
        if self.distances is None:
            return self._overlap(0, self.predicted + self.actual)
        return normalised_surface_dice(self.distances, tolerance=min(self.spacing) / 2)

    def pooled_hd95(self) -> float:
        return super().pooled_hd95() if self.hits else self._distance_without_overlap()

    def matched_dice(self) -> float:
        return self.matched.dice

    def matched_nsd(self) -> float:
        return self.matched.nsd

    def matched_hd95(self) -> float:
        return self.matched.hd95

    def matched_lesions(self) -> float:
        return self.matched.matched

    def missed_lesions(self) -> float:
        return self.matched.missed

    def false_lesions(self) -> float:
        return self.matched.false


class Monai(Brats2021):
    """The metrics as MONAI's functions compute them, in float32: NaN for most regions that a mask lacks.

    For comparison only, because missed and invented regions then do not count.
    """

    description = (
        "MONAI. A region that prediction or truth lacks has no value and is left out of the means, so that misses and "
        "inventions do not count. For comparison only."
    )

    @cached_property
    def pair(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Prediction and truth as MONAI takes them, (1, 1, H, W, D)."""
        prediction, truth = (torch.from_numpy(mask)[None, None] for mask in (self.prediction, self.truth))
        return prediction, truth

    def dice(self) -> float:
        return compute_dice(*self.pair).item()

    def hd95(self) -> float:
        with warnings.catch_warnings():
            # about empty masks, and about an argument that MONAI 1.6.1 itself passes
            warnings.simplefilter("ignore")
            return compute_hausdorff_distance(
                *self.pair, include_background=True, percentile=95, spacing=list(self.spacing)
            ).item()

    def pooled_hd95(self) -> float:
        # MONAI has no such function
        return math.nan if self.distances is None else pooled_hausdorff_95(self.distances)

    def sensitivity(self) -> float:
        return self._of_confusion("sensitivity")

    def specificity(self) -> float:
        return self._of_confusion("specificity")

    def surface_dice(self) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return compute_surface_dice(
                *self.pair, [TOLERANCE], include_background=True, spacing=list(self.spacing)
            ).item()

    def _of_confusion(self, name: str) -> float:
        invented, missed = self.predicted - self.hits, self.actual - self.hits
        counts = [self.hits, invented, self.negatives - invented, missed]
        return compute_confusion_matrix_metric(name, torch.tensor(counts, dtype=torch.float64)).item()


SCORING_RULES: dict[str, type[Brats2021]] = {
    "brats2021": Brats2021,
    "brats2023": Brats2023,
    "brats2025": Brats2025,
    "monai": Monai,
}
