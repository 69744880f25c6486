# SPDX-License-Identifier: Apache-2.0
"""MONAI's own metrics as scoring rules, for comparison."""

from __future__ import annotations

import math
import warnings
from functools import cached_property

import torch
from monai.metrics import (
    compute_confusion_matrix_metric,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from scripts.evaluation.metrics.brats2021 import TOLERANCE, Brats2021
from scripts.evaluation.metrics.surface_distances import pooled_hausdorff_95


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
