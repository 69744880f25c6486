# SPDX-License-Identifier: Apache-2.0
"""Lesion-wise metrics as in BraTS 2023."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from scripts.evaluation.metrics.surface_distances import ROUNDING, hausdorff_95, surface_distances

DILATIONS = 3
SMALL_LESION = 50.0  # mm3; reference lesions up to this volume are ignored
_FACES_AND_EDGES = ndimage.generate_binary_structure(3, 2)
_ALL_NEIGHBOURS = ndimage.generate_binary_structure(3, 3)


class LesionWise(NamedTuple):
    """Result of `lesion_wise`.

    Attributes:
        dice: mean Dice.
        hd95: mean HD95 in mm.
        missed: number of reference lesions without a prediction.
        false: number of predicted components without a reference lesion.
    """

    dice: float
    hd95: float
    missed: int
    false: int


def count_lesions(mask: np.ndarray) -> int:
    """Returns the number of 26-connected components of a boolean mask (H, W, D)."""
    return ndimage.label(mask, _ALL_NEIGHBOURS)[1]


def lesion_wise(
    prediction: np.ndarray, truth: np.ndarray, *, spacing: Sequence[float], worst_hd95: float
) -> LesionWise:
    """Scores one region lesion by lesion, as BraTS 2023 does for glioma.

    1. The reference is dilated three times by the 18-neighbourhood (faces and edges). The reference voxels in one
       26-connected component of the result are one lesion.
    2. All predicted 26-connected components that touch a dilated lesion are merged and scored against it. A component
       that touches two lesions counts for both.
    3. Lesions of at most 50 mm3 are not scored; components that touch only such lesions are not scored either.
    4. A lesion that no component touches is missed, a component that touches no lesion is false, whatever its size.
       Both have Dice 0 and the worst HD95.
    5. Means are taken over lesions and false components. If there are neither, Dice is 1 and HD95 is 0.

    Source: the challenge's own code, https://github.com/rachitsaluja/BraTS-2023-Metrics, whose Dice is equal on 63
    real pairs. It labels with cc3d, which is under the LGPL; SciPy labels a region in milliseconds.

    Args:
        prediction: boolean mask (H, W, D).
        truth: boolean mask of the same shape, with a margin of at least `DILATIONS` voxels around it within the volume.
        spacing: voxel size in mm along each axis.
        worst_hd95: HD95 in mm of a missed lesion or a false component.
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
