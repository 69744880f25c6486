# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from scripts.evaluation.metrics.surfaces import ROUNDING, bounding_box

NEIGHBOURHOOD = 10.0  # mm
BINS = 20


def calibration_error(
    probabilities: np.ndarray, truth: np.ndarray, near: np.ndarray, *, spacing: Sequence[float]
) -> float:
    """Expected calibration error of one region's probabilities, over the voxels within 10 mm of a mask.

    Voxels are put into 20 equal bins of probability; the error is the mean over voxels of their bin's gap between mean
    probability and share of true voxels. Far from the tumour both are 0 in millions of voxels, which would make any
    network look calibrated; so only the neighbourhood counts. It is drawn by the masks, not by the probabilities:
    leaving voxels out for being improbable would leave out the rightly improbable ones.

    `monai.metrics.calibration_binning` has the same bins, but sums in float32, too coarse for so many voxels.

    Args:
        probabilities: (H, W, D) in [0, 1].
        truth: boolean mask of the same shape.
        near: boolean mask of the same shape, not empty: usually where the region is predicted or true.
        spacing: of the voxels, in mm along each axis.
    """
    box = bounding_box(near, [int(NEIGHBOURHOOD // step) + 1 for step in spacing])
    inside = ndimage.distance_transform_edt(~near[box], sampling=spacing) <= NEIGHBOURHOOD + ROUNDING
    p, y = probabilities[box][inside].astype(float), truth[box][inside]
    bins = np.clip(p * BINS, 0, BINS - 1).astype(int)
    return float(np.abs(np.bincount(bins, weights=p - y)).sum() / len(p))
