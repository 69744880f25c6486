# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor

from scripts.base.errors import BundleError
from scripts.brats import REGIONS
from scripts.evaluation.metrics.case_metrics import case_metrics, select_metrics
from scripts.evaluation.metrics.scoring_rules import SCORING_RULES
from tests.masks import (
    STRIDES,
    WORST,
    blobs,
    brute_distances,
    brute_hd95,
    needs_real_cases,
    percentile_95,
    real_pairs,
    spacings,
)
from tests.tolerances import EXACT, FLOAT32

Spacing = tuple[float, float, float]
EMPTY = np.zeros((3, 4, 4, 4), dtype=bool)
CHANCES = np.full(EMPTY.shape, 0.5)


@settings(deadline=None)
@given(
    prediction=blobs(),
    truth=blobs(),
    spacing=spacings,
    scoring_rules=st.sampled_from(["brats2021", "brats2023", "brats2025"]),
    dtype=st.sampled_from([torch.bool, torch.uint8, torch.float32, torch.bfloat16]),
)
def test_metrics_of_blobs_equal_brute_force(
    prediction: np.ndarray, truth: np.ndarray, spacing: Spacing, scoring_rules: str, dtype: torch.dtype
) -> None:
    pair = (torch.from_numpy(mask).to(dtype) for mask in (prediction, truth))
    check(case_metrics(*pair, spacing=spacing, scoring_rules=scoring_rules), prediction, truth, spacing, scoring_rules)


@needs_real_cases
@pytest.mark.parametrize("spacing", [STRIDES, (1.0, 1.0, 1.0)])
def test_metrics_of_real_tumours_equal_brute_force(spacing: Spacing) -> None:
    pairs = list(real_pairs())
    assert len(pairs) >= 60
    for prediction, truth in pairs:
        check(case_metrics(prediction, truth, spacing=spacing), prediction, truth, spacing, "brats2021")


def check(
    found: dict[str, list[float]], prediction: np.ndarray, truth: np.ndarray, spacing: Spacing, scoring_rules: str
) -> None:
    for region, (p, t) in enumerate(zip(prediction, truth)):
        for metric, value in brute_force_metrics(p, t, spacing, scoring_rules).items():
            assert found[metric][region] == pytest.approx(value, abs=EXACT, rel=0, nan_ok=True), (
                metric,
                REGIONS[region],
            )


def brute_force_metrics(p: np.ndarray, t: np.ndarray, spacing: Spacing, scoring_rules: str) -> dict[str, float]:
    tp, fp, fn, tn = (p & t).sum(), (p & ~t).sum(), (~p & t).sum(), (~p & ~t).sum()
    both, either = p.any() and t.any(), p.any() or t.any()
    absent = {"brats2025": (math.nan, math.nan)}.get(scoring_rules, (0.0, 1.0))
    hd95, surface_dice = (WORST[scoring_rules], 0.0) if either else absent
    pooled_hd95 = hd95  # of 2025: also the worst if the masks do not overlap
    if both:
        hd95 = brute_hd95(p, t, spacing)
        if tp or scoring_rules != "brats2025":
            pooled_hd95 = percentile_95(np.concatenate(brute_distances(p, t, spacing)))
        surface_dice = np.concatenate([d <= 1 + 1e-6 for d in brute_distances(p, t, spacing)]).mean()
    return {
        "dice": 2 * tp / (2 * tp + fp + fn) if either else absent[1],
        "hd95": hd95,
        "pooled_hd95": pooled_hd95,
        "sensitivity": tp / (tp + fn) if t.any() else 0 if p.any() else absent[1],
        "specificity": tn / (tn + fp) if (~t).any() else 1,
        "surface_dice": surface_dice,
        "volume_ml": p.sum() * spacing[0] * spacing[1] * spacing[2] / 1000,
        "true_volume_ml": t.sum() * spacing[0] * spacing[1] * spacing[2] / 1000,
    }


def test_metrics_are_those_asked_for_in_the_order_of_tables() -> None:
    found = case_metrics(EMPTY, EMPTY, spacing=(1, 1, 1), metrics=["specificity", "dice"])
    assert list(found.items()) == [("dice", [1, 1, 1]), ("specificity", [1, 1, 1])]
    assert select_metrics("brats2023", "lesion_dice") == ("lesion_dice",)
    for scoring_rules in SCORING_RULES:
        found = case_metrics(EMPTY, EMPTY, spacing=(1, 1, 1), scoring_rules=scoring_rules)
        assert tuple(found) == select_metrics(scoring_rules) == SCORING_RULES[scoring_rules].metrics


@pytest.mark.parametrize("scoring_rules", SCORING_RULES)
def test_without_truth_only_what_needs_none_is_a_number(scoring_rules: str) -> None:
    found = case_metrics(~EMPTY, None, spacing=(5, 5, 5), scoring_rules=scoring_rules, probabilities=CHANCES)
    numbers = {name: values for name, values in found.items() if not np.isnan(values).any()}
    assert numbers == {"volume_ml": [8, 8, 8], "lesions": [1, 1, 1]}
    assert all(np.isnan(values).all() for name, values in found.items() if name not in numbers)


def test_probabilities_belong_to_their_region() -> None:
    truth = EMPTY.copy()
    truth[1] = True
    probabilities = np.stack([np.full((4, 4, 4), p) for p in (0.1, 0.3, 0.6)])
    found = case_metrics(~EMPTY, truth, spacing=(1, 1, 1), probabilities=probabilities)["calibration_error"]
    assert found == pytest.approx([0.1, 0.7, 0.6], rel=FLOAT32)
    for dtype in (torch.float16, torch.bfloat16):
        rounded = MetaTensor(torch.from_numpy(probabilities)).to(dtype).requires_grad_()
        given = case_metrics(~EMPTY, truth, spacing=(1, 1, 1), probabilities=rounded)["calibration_error"]
        assert given == pytest.approx(found, abs=2**-9)  # bfloat16 has 8 bits


@pytest.mark.parametrize(
    ("prediction", "truth", "probabilities", "message"),
    [
        (EMPTY, EMPTY[..., 1:], None, r"truth: found shape \(3, 4, 4, 3\) but the prediction has \(3, 4, 4, 4\)"),
        (EMPTY, EMPTY[:1], None, r"truth: found shape \(1, 4, 4, 4\)"),
        (EMPTY[0], EMPTY, None, r"prediction: found shape \(4, 4, 4\); give TC, WT, ET"),
        (EMPTY + 0.5, EMPTY, None, "prediction: found values other than 0 and 1; threshold"),
        (EMPTY, EMPTY + math.nan, None, "truth: found values other than 0 and 1"),
        (EMPTY, EMPTY + 2, None, "truth: found values other than 0 and 1"),
        (None, EMPTY, None, "prediction: found None"),
        (EMPTY, "none", None, "truth: found none"),
        (EMPTY, EMPTY, CHANCES[..., 1:], r"probabilities: found shape \(3, 4, 4, 3\) but"),
        (EMPTY, EMPTY, np.where(np.indices(EMPTY.shape)[0] == 1, math.nan, 0.5), "probabilities: found NaN; look"),
        (EMPTY, None, CHANCES * math.nan, "probabilities: found NaN; look"),
        (EMPTY, EMPTY, CHANCES * 10, "probabilities: found values from 5 to 5; apply the sigmoid"),
        (EMPTY, EMPTY, -CHANCES, r"probabilities: found values from -0\.5 to -0\.5; apply the sigmoid"),
    ],
)
def test_what_is_no_case_is_refused(prediction: Any, truth: Any, probabilities: Any, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        case_metrics(prediction, truth, spacing=(1, 1, 1), probabilities=probabilities)


@pytest.mark.parametrize(
    ("scoring_rules", "metrics", "message"),
    [
        ("brats2022", None, "scoring_rules: found 'brats2022'; give one of brats2021, brats2023, brats2025, monai"),
        ("brats2021", ["dice", "Dice"], r"metrics: found \['dice', 'Dice'\]; give some of dice, hd95"),
        ("brats2021", "lesion_dice", "metrics: found 'lesion_dice'.*the metrics of brats2021"),
        ("brats2021", [], r"metrics: found \[\]; give some"),
    ],
)
def test_unknown_scoring_rules_and_metrics_are_refused(scoring_rules: str, metrics: Any, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        case_metrics(EMPTY, EMPTY, spacing=(1, 1, 1), scoring_rules=scoring_rules, metrics=metrics)
