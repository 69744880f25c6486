# SPDX-License-Identifier: Apache-2.0
"""What a calibrated confidence says about a segmentation without the truth: its expected Dice and the true volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from scripts.evaluation.metrics.surface_distances import bounding_box, distance_within

REACH = 10.0  # mm from the prediction; farther away nothing is taken to be missed
# share of the cases whose true volume the interval should hold
COVERAGE = 0.8
EXPECTED = ("expected_dice", "expected_volume_ml", "volume_low_ml", "volume_high_ml")


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


def expected_of_case(prediction: np.ndarray, confidence: np.ndarray, *, spacing: Sequence[float]) -> dict[str, list]:
    """Returns what is expected of a case, the values of its regions by name of the report's metrics.

    Args:
        prediction: binary regions (3, H, W, D).
        confidence: the critic's, (3, H, W, D).
        spacing: voxel size in mm along each axis.

    Returns:
        `expected_dice`, `expected_volume_ml`, `volume_low_ml` and `volume_high_ml`; NaN where nothing was predicted.
    """
    rows = [_of_region(p > 0.5, c, spacing) for p, c in zip(prediction, confidence)]
    return dict(zip(EXPECTED, map(list, zip(*rows))))


def _of_region(mask: np.ndarray, confidence: np.ndarray, spacing: Sequence[float]) -> tuple[float, ...]:
    if not mask.any():
        return (math.nan,) * len(EXPECTED)
    box = bounding_box(mask, [math.ceil(REACH / size) for size in spacing])
    mask, confidence = mask[box], confidence[box]
    around = mask | (distance_within(mask, spacing, reach=REACH) <= REACH)
    found = expectation(mask[around], confidence[around])
    millilitres = float(np.prod(spacing)) / 1000
    return (found.dice, *(volume * millilitres for volume in (found.volume, found.low, found.high)))
