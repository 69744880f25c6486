# SPDX-License-Identifier: Apache-2.0
"""Expected calibration error of a region's probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from scripts.evaluation.metrics.surface_distances import ROUNDING, bounding_box

NEIGHBOURHOOD = 10.0  # mm
BINS = 20


def calibration_error(
    probabilities: np.ndarray, truth: np.ndarray, near: np.ndarray, *, spacing: Sequence[float]
) -> float:
    """Returns the expected calibration error of one region, over the voxels within 10 mm of a mask.

    ECE = sum over bins b of (n_b / n) |mean probability in b - share of true voxels in b|, with 20 bins of equal width
    (Naeini et al. 2015, "Obtaining well calibrated probabilities using Bayesian binning").

    Far from the tumour, probability and truth are both 0 in millions of voxels, which would make any network look
    calibrated. So only the neighbourhood counts. It is defined by masks, not by a threshold on the probabilities, which
    would exclude the voxels whose probability is rightly low.

    `monai.metrics.calibration_binning` uses the same bins but sums in float32, which is too coarse for so many voxels.

    Args:
        probabilities: (H, W, D) in [0, 1].
        truth: boolean mask of the same shape.
        near: boolean mask of the same shape, not empty: usually where the region is predicted or true.
        spacing: voxel size in mm along each axis.
    """
    box = bounding_box(near, [int(NEIGHBOURHOOD // step) + 1 for step in spacing])
    inside = ndimage.distance_transform_edt(~near[box], sampling=spacing) <= NEIGHBOURHOOD + ROUNDING
    p, y = probabilities[box][inside].astype(float), truth[box][inside]
    bins = np.clip(p * BINS, 0, BINS - 1).astype(int)
    return float(np.abs(np.bincount(bins, weights=p - y)).sum() / len(p))
