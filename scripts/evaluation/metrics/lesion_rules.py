# SPDX-License-Identifier: Apache-2.0
"""The scoring rules of the challenges since 2023, which count lesion by lesion."""

from __future__ import annotations

import math
from functools import cached_property

from scripts.evaluation.metrics.brats2021 import Brats2021
from scripts.evaluation.metrics.lesions import LesionWise, lesion_wise
from scripts.evaluation.metrics.matching import MatchedLesions, match_lesions
from scripts.evaluation.metrics.surface_distances import normalised_surface_dice


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
