# SPDX-License-Identifier: Apache-2.0
"""Metrics of lesions that are matched one to one, as in BraTS 2025."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from scripts.evaluation.metrics.surface_distances import (
    bounding_box,
    normalised_surface_dice,
    pooled_hausdorff_95,
    surface_distances,
)

LEAST_DICE = 1e-6  # lesions with a lower Dice are not matched
_ALL_NEIGHBOURS = ndimage.generate_binary_structure(3, 3)


class MatchedLesions(NamedTuple):
    """Result of `match_lesions`.

    Attributes:
        dice: mean Dice of matched lesions.
        nsd: mean normalised surface Dice of matched lesions.
        hd95: mean pooled HD95 of matched lesions, in mm.
        matched: number of true lesions that a predicted lesion is matched to.
        missed: number of true lesions that none is matched to.
        false: number of predicted lesions that are not matched.
    """

    dice: float
    nsd: float
    hd95: float
    matched: int
    missed: int
    false: int


def match_lesions(
    prediction: np.ndarray, truth: np.ndarray, *, spacing: Sequence[float], worst_hd95: float
) -> MatchedLesions:
    """Matches predicted to true lesions one to one and scores the pairs, as BraTS 2025 does for glioma.

    1. The lesions are the 26-connected components of each mask, of any size.
    2. They are matched so that the sum of 1 - Dice over pairs is least (maximum bipartite matching); pairs whose Dice
       is below 1e-6, which are those without overlap, are not matched.
    3. Dice, normalised surface Dice (tolerance: the smallest edge of a voxel) and pooled HD95 are averaged over the
       matched pairs. Missed and false lesions do not lower these means; they are counted.
    4. If no lesion is matched, Dice and NSD are 0 and HD95 is the worst one; if neither mask has a lesion, all three
       are NaN.

    The challenge's own package computes this with panoptica (Kofler et al. 2023, "Panoptica: instance-wise evaluation
    of 3D semantic and instance segmentation maps", Apache-2.0), which needs an older NumPy and labels with cc3d, which
    is under the LGPL. On BraTS's grid of 1 mm both give the values of this function; panoptica 2.1.7 swaps the first
    and the last axis of other voxel sizes, which is not done here. The challenge leaves HD95 infinite if no lesion is
    matched, so that its mean over cases is infinite; here it is `worst_hd95`, as for a whole region.

    Args:
        prediction: boolean mask (H, W, D).
        truth: boolean mask of the same shape.
        spacing: voxel size in mm along each axis.
        worst_hd95: HD95 in mm if no lesion is matched.
    """
    predicted, predictions = ndimage.label(prediction, _ALL_NEIGHBOURS)
    true, lesions = ndimage.label(truth, _ALL_NEIGHBOURS)
    if not predictions and not lesions:
        return MatchedLesions(math.nan, math.nan, math.nan, 0, 0, 0)
    pairs = _match(_pairwise_dice(predicted, predictions, true, lesions))
    if not pairs:
        return MatchedLesions(0.0, 0.0, worst_hd95, 0, lesions, predictions)
    scores = [
        (dice, *_surface_scores(predicted == theirs, true == lesion, spacing))
        for (lesion, theirs), dice in pairs.items()
    ]
    dice, nsd, hd95 = np.mean(scores, axis=0).tolist()
    return MatchedLesions(dice, nsd, hd95, len(pairs), lesions - len(pairs), predictions - len(pairs))


def _pairwise_dice(predicted: np.ndarray, predictions: int, true: np.ndarray, lesions: int) -> np.ndarray:
    """Returns the Dice of each true lesion with each predicted one, (lesions, predictions)."""
    shape = (lesions + 1, predictions + 1)
    counts = np.bincount(np.ravel_multi_index((true.ravel(), predicted.ravel()), shape), minlength=math.prod(shape))
    table = counts.reshape(shape)
    sizes = table.sum(axis=1, keepdims=True) + table.sum(axis=0, keepdims=True)
    return 2 * table[1:, 1:] / sizes[1:, 1:]


def _match(dice: np.ndarray) -> dict[tuple[int, int], float]:
    """Returns the Dice of the matched pairs by the labels, from 1, of the true and the predicted lesion."""
    # a pair that may not be matched costs more than any other
    costs = np.where(dice >= LEAST_DICE, 1 - dice, 1 + LEAST_DICE)
    pairs = zip(*linear_sum_assignment(costs))
    return {(int(row) + 1, int(column) + 1): dice[row, column] for row, column in pairs if costs[row, column] < 1}


def _surface_scores(predicted: np.ndarray, true: np.ndarray, spacing: Sequence[float]) -> tuple[float, float]:
    box = bounding_box(predicted | true, [0, 0, 0])
    distances = surface_distances(predicted[box], true[box], spacing=spacing)
    return normalised_surface_dice(distances, tolerance=min(spacing)), pooled_hausdorff_95(distances)
