# SPDX-License-Identifier: Apache-2.0
"""The metrics of one case, with checks of the arrays that they are computed from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.config import NdarrayOrTensor as Array
from monai.utils import convert_to_tensor, ensure_tuple

from scripts.base.errors import BundleError
from scripts.brats import REGIONS
from scripts.evaluation.metrics.scoring_rules import SCORING_RULES, WITHOUT_TRUTH


def case_metrics(
    prediction: Array,
    truth: Array | None,
    *,
    spacing: Sequence[float],
    scoring_rules: str = "brats2021",
    probabilities: Array | None = None,
    metrics: Sequence[str] | None = None,
) -> dict[str, list[float]]:
    """Returns the metrics of one case: the values of TC, WT and ET by name of the metric.

    Args:
        prediction: binary regions (3, H, W, D).
        truth: binary regions of the same shape, or None, which makes metrics that need it NaN.
        spacing: voxel size in mm along each axis.
        scoring_rules: one of `SCORING_RULES`.
        probabilities: probabilities of the regions, of the same shape.
        metrics: names of the metrics to compute, or None for all of the scoring rules.

    Raises:
        BundleError: if the scoring rules or a metric are unknown, shapes differ or are not (3, H, W, D), masks contain
            other values than 0 and 1, or probabilities contain NaN or values outside [0, 1].
    """
    names = select_metrics(scoring_rules, metrics)
    predicted = _regions("prediction", prediction)
    actual = np.zeros_like(predicted) if truth is None else _regions("truth", truth, predicted.shape)
    chances = [None] * 3 if probabilities is None else _probabilities(probabilities, predicted.shape)
    regions = [
        SCORING_RULES[scoring_rules](p, t, spacing=spacing, probabilities=c)
        for p, t, c in zip(predicted, actual, chances)
    ]
    computed = [name for name in names if truth is not None or name in WITHOUT_TRUTH]
    return {name: [float(getattr(r, name)()) if name in computed else math.nan for r in regions] for name in names}


def select_metrics(scoring_rules: str, chosen: Sequence[str] | None = None) -> tuple[str, ...]:
    """Returns the names of metrics in the order of tables: all those of the scoring rules, or the chosen ones.

    Raises:
        BundleError: if the scoring rules or a chosen metric are unknown.
    """
    if scoring_rules not in SCORING_RULES:
        raise BundleError(f"scoring_rules: found {scoring_rules!r}; give one of {', '.join(SCORING_RULES)}.")
    known = SCORING_RULES[scoring_rules].metrics
    wanted = known if chosen is None else ensure_tuple(chosen)
    if not wanted or not set(wanted) <= set(known):
        raise BundleError(
            f"metrics: found {chosen!r}; give some of {', '.join(known)}, the metrics of {scoring_rules}."
        )
    return tuple(name for name in known if name in wanted)


def _regions(name: str, mask: Any, shape: Sequence[int] | None = None) -> np.ndarray:
    tensor = _tensor(name, mask, shape)
    if tensor.dtype != torch.bool and not (tensor == tensor.bool()).all():
        raise BundleError(f"{name}: found values other than 0 and 1; threshold the probabilities first.")
    return tensor.bool().numpy()


def _probabilities(probabilities: Any, shape: Sequence[int]) -> np.ndarray:
    tensor = _tensor("probabilities", probabilities, shape).float()
    least, largest = (value.item() for value in tensor.aminmax())
    if math.isnan(least):
        raise BundleError("probabilities: found NaN; look for NaN in the image and in the network's weights.")
    # resampling may overshoot a little
    if least < -1e-3 or largest > 1 + 1e-3:
        raise BundleError(f"probabilities: found values from {least:.3g} to {largest:.3g}; apply the sigmoid first.")
    return tensor.numpy()


def _tensor(name: str, array: Any, shape: Sequence[int] | None) -> torch.Tensor:
    if not isinstance(array, (torch.Tensor, np.ndarray)) or array.ndim != 4 or len(array) != len(REGIONS):
        found = f"shape {tuple(array.shape)}" if hasattr(array, "shape") else array
        raise BundleError(f"{name}: found {found}; give {', '.join(REGIONS)} as an array (3, H, W, D).")
    if shape is not None and array.shape != tuple(shape):
        found = f"shape {tuple(array.shape)} but the prediction has {tuple(shape)}"
        raise BundleError(f"{name}: found {found}; resample both to the same grid.")
    return convert_to_tensor(array, device="cpu", track_meta=False).detach()
