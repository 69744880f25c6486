# SPDX-License-Identifier: Apache-2.0
"""What a calibrated confidence says about a segmentation without the truth: its expected Dice and the true volume."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# share of the cases whose true volume the interval should hold
COVERAGE = 0.8


class Expectation(NamedTuple):
    """What is expected of one region of a segmentation.

    Attributes:
        dice: expected Dice with the unknown truth, in [0, 1].
        volume: expected number of true voxels.
        low: lower bound of the number of true voxels.
        high: upper bound of it.
    """

    dice: float
    volume: float
    low: int
    high: int


def expectation(mask: np.ndarray, confidence: np.ndarray) -> Expectation:
    """Computes what is expected of a region from the probability c_v that each voxel v of its mask is right.

    A predicted voxel is a true positive with probability c_v and a false positive otherwise; one that was not
    predicted is a false negative with probability 1 - c_v. With TP = sum of c_v over the predicted voxels and so on,

        E[Dice] ~ 2 TP / (2 TP + FP + FN),    E[volume] = TP + FN.

    Errors of neighbouring voxels come together. The interval takes the extreme case, in which one number u, uniform in
    [0, 1], decides all of them: the truth is then {v: t_v > u}, where t_v = c_v in the mask and 1 - c_v outside is the
    probability of the region. The interval of 80 % holds the volumes for u between 0.1 and 0.9.

    Args:
        mask: boolean mask of the region, (H, W, D).
        confidence: c, of the same shape, in [0, 1].

    Returns:
        The expectation; its Dice is 1 if the region is neither predicted nor expected.
    """
    region = np.where(mask, confidence, 1 - confidence)
    hit, volume = float(region[mask].sum()), float(region.sum())
    whole = mask.sum() + volume
    low, high = (1 + COVERAGE) / 2, (1 - COVERAGE) / 2
    dice = 2 * hit / whole if whole > 0 else 1.0
    return Expectation(dice=dice, volume=volume, low=int((region > low).sum()), high=int((region > high).sum()))
