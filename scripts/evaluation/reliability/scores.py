# SPDX-License-Identifier: Apache-2.0
"""How well the critic's uncertainty and the segmenter's entropy find the wrong voxels of one case."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import entr
from sklearn.metrics import auc, confusion_matrix_at_thresholds

from scripts.brats import REGIONS
from scripts.evaluation.metrics.surface_distances import bounding_box, distance_within, surface
from scripts.evaluation.reliability.expected_dice import expectation

ZONES = {"boundary": 3.0, "neighbourhood": 10.0}  # mm
UNCERTAINTIES = ("critic", "entropy")
BINS = 10  # of the reliability diagram
Row = dict[str, Any]


def score_case(
    prediction: np.ndarray,
    truth: np.ndarray,
    probabilities: np.ndarray,
    confidence: np.ndarray,
    *,
    spacing: Sequence[float],
) -> list[Row]:
    """Scores two measures of uncertainty by how well they find the wrong voxels of a case.

    The measures are `critic`, one minus the critic's confidence, and `entropy`, that of the segmenter's probabilities.
    They are compared in two zones: `boundary`, within 3 mm of the prediction's surface, and `neighbourhood`, within
    10 mm of the predicted or true region.

    Args:
        prediction: binary regions (3, H, W, D).
        truth: binary regions (3, H, W, D).
        probabilities: (3, H, W, D), from which the prediction was made.
        confidence: the critic's, (3, H, W, D).
        spacing: voxel size in mm along each axis.

    Returns:
        A row for each region: `region`; `dice`; `mean_confidence` and `mean_entropy` within 10 mm of the prediction
        (not of the truth, which is unknown in use), and what the confidence lets expect there (`expectation`):
        `expected_dice_critic`, `expected_dice_entropy` (the same of the segmenter's own probabilities), `volume_ml`
        (true), `expected_volume_ml`, `volume_low_ml` and `volume_high_ml`; and for each zone `<zone>_voxels`,
        `<zone>_wrong_share` (the average precision of chance), `<zone>_calibration`, for each of ten bins of the
        critic's confidence (voxels, sum of confidence, right voxels), `<zone>_auroc_<measure>` and
        `<zone>_average_precision_<measure>`. A score is NaN if the zone has no wrong or no right voxel; a mean is NaN
        if nothing was predicted.
    """
    return [
        {"region": region} | _score_region(p > 0.5, t > 0.5, q, c, spacing)
        for region, p, t, q, c in zip(REGIONS, prediction, truth, probabilities, confidence)
    ]


def _score_region(p: np.ndarray, t: np.ndarray, q: np.ndarray, c: np.ndarray, spacing: Sequence[float]) -> Row:
    row: Row = {"dice": float(2 * (p & t).sum() / (p.sum() + t.sum())) if (p | t).any() else 1.0}
    reach = max(ZONES.values())
    box = bounding_box(p | t, [math.ceil(reach / size) for size in spacing])
    p, t, wrong = p[box], t[box], p[box] != t[box]
    c, q = c[box], q[box].clip(0, 1)
    uncertainty = {"critic": 1 - c, "entropy": entropy(q)}
    to_surface = distance_within(surface(p), spacing, reach=reach)
    around = p | (to_surface <= reach)
    zones = {
        "boundary": to_surface <= ZONES["boundary"],
        "neighbourhood": around | (distance_within(t, spacing, reach=reach) <= reach),
    }
    row |= {"mean_confidence": _mean(1 - uncertainty["critic"][around])}
    row |= {"mean_entropy": _mean(uncertainty["entropy"][around])}
    row |= _expectations(p[around], c[around], q[around], t.sum(), millilitres=float(np.prod(spacing)) / 1000)
    for zone, inside in zones.items():
        answer = wrong[inside]
        row |= {f"{zone}_voxels": int(answer.size), f"{zone}_wrong_share": _mean(answer)}
        row |= {f"{zone}_calibration": _calibration(c[inside], ~answer)}
        for name in UNCERTAINTIES:
            scores = _scores(answer, uncertainty[name][inside])
            row |= {f"{zone}_{score}_{name}": value for score, value in scores.items()}
    return row


def _expectations(p: np.ndarray, c: np.ndarray, q: np.ndarray, true: int, *, millilitres: float) -> Row:
    """Returns what is expected of a region p from the critic's confidence c and from the probabilities q."""
    names = ("expected_dice_critic", "expected_dice_entropy", "expected_volume_ml", "volume_low_ml", "volume_high_ml")
    if not p.any():
        return {"volume_ml": float(true * millilitres)} | dict.fromkeys(names, math.nan)
    critic, segmenter = expectation(p, c), expectation(p, np.maximum(q, 1 - q))
    volumes = (v * millilitres for v in (critic.volume, critic.low, critic.high))
    return {"volume_ml": float(true * millilitres)} | dict(zip(names, (critic.dice, segmenter.dice, *volumes)))


def _calibration(confidence: np.ndarray, right: np.ndarray) -> list[tuple[float, ...]]:
    bins = (confidence * BINS).astype(int).clip(0, BINS - 1)
    sums = [np.bincount(bins, weights=w, minlength=BINS) for w in (np.ones_like(confidence), confidence, right)]
    return list(zip(*(s.tolist() for s in sums)))


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Returns the entropy in nats of each voxel's probability, -p log(p) - (1 - p) log(1 - p), in float32.

    Probabilities outside [0, 1], to which resampling can overshoot, are clipped.
    """
    clipped = probabilities.clip(0, 1)
    return (entr(clipped) + entr(1 - clipped)).astype(np.float32)


def _scores(wrong: np.ndarray, uncertainty: np.ndarray) -> dict[str, float]:
    """Returns what `roc_auc_score` and `average_precision_score` of scikit-learn do, sorting the voxels only once."""
    if wrong.all() or not wrong.any():
        return {"auroc": math.nan, "average_precision": math.nan}
    _, false_alarms, _, found, _ = confusion_matrix_at_thresholds(wrong, uncertainty)
    recall, precision = found / found[-1], found / (found + false_alarms)
    return {
        "auroc": float(auc(np.append(0, false_alarms / false_alarms[-1]), np.append(0, recall))),
        "average_precision": float(np.diff(recall, prepend=0) @ precision),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan
