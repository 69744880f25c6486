# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from scripts.evaluation.metrics.surfaces import ROUNDING, hausdorff_95, surface_distances

DILATIONS = 3
SMALL_LESION = 50.0  # mm3; a reference lesion that is no larger is left out
_FACES_AND_EDGES = ndimage.generate_binary_structure(3, 2)
_ALL_NEIGHBOURS = ndimage.generate_binary_structure(3, 3)


class LesionWise(NamedTuple):
    """What `lesion_wise` gives: mean Dice, mean HD95 in mm, reference lesions missed, predicted lesions false."""

    dice: float
    hd95: float
    missed: int
    false: int


def count_lesions(mask: np.ndarray) -> int:
    """The number of 26-connected components of a boolean mask (H, W, D)."""
    return ndimage.label(mask, _ALL_NEIGHBOURS)[1]


def lesion_wise(
    prediction: np.ndarray, truth: np.ndarray, *, spacing: Sequence[float], worst_hd95: float
) -> LesionWise:
    """Scores one region lesion by lesion, as BraTS 2023 does for glioma.

    The reference is dilated three times, by voxels that share a face or an edge. What lies in one 26-connected
    component of that is one lesion. All predicted 26-connected components that touch the dilated lesion are joined
    and scored against it; so a component that touches two lesions counts for both. Lesions of at most 50 mm3 are left
    out, but excuse the components that touch them. A component that touches no lesion is false: Dice 0 and the worst
    HD95, whatever its size, as for a lesion that none touches. Means are over lesions and false components; with
    neither, Dice is 1 and HD95 0.

    SciPy labels and dilates: cc3d, which the challenge's own code uses, is under the LGPL, and to label a region takes
    SciPy milliseconds.

    Args:
        prediction: boolean mask (H, W, D).
        truth: boolean mask of the same shape, with at least `DILATIONS` voxels around it where the volume goes on.
        spacing: of the voxels, in mm along each axis.
        worst_hd95: of a missed lesion or a false component, in mm.
    """
    predicted, count = ndimage.label(prediction, _ALL_NEIGHBOURS)
    dilated = ndimage.binary_dilation(truth, _FACES_AND_EDGES, iterations=DILATIONS)
    zones, lesions = ndimage.label(dilated, _ALL_NEIGHBOURS)
    excused = np.zeros(count + 1, dtype=bool)
    dice, hd95, scored, missed = 0.0, 0.0, 0, 0
    for zone in (zones == lesion for lesion in range(1, lesions + 1)):
        touches = np.zeros(count + 1, dtype=bool)
        touches[predicted[zone & prediction]] = True
        excused |= touches
        reference = truth & zone
        size = int(np.count_nonzero(reference))
        if size * math.prod(spacing) <= SMALL_LESION + ROUNDING:
            continue
        scored += 1
        if touches.any():
            joined = touches[predicted]
            dice += 2 * int(np.count_nonzero(joined & reference)) / (int(np.count_nonzero(joined)) + size)
            hd95 += hausdorff_95(surface_distances(joined, reference, spacing=spacing))
        else:
            missed += 1
            hd95 += worst_hd95
    false = count - int(np.count_nonzero(excused))
    if not scored + false:
        return LesionWise(1.0, 0.0, missed, false)
    return LesionWise(dice / (scored + false), (hd95 + false * worst_hd95) / (scored + false), missed, false)
