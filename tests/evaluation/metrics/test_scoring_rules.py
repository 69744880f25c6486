# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.metrics import ConfusionMatrixMetric, DiceMetric, HausdorffDistanceMetric, Metric, SurfaceDiceMetric

from scripts.evaluation.metrics.scoring_rules import SCORING_RULES, Brats2021, Brats2025
from tests.masks import needs_real_cases, real_pairs

NAN = math.nan
METRICS = ("dice", "hd95", "pooled_hd95", "sensitivity", "specificity", "surface_dice")
LESION_METRICS = {
    "brats2023": ("lesion_dice", "lesion_hd95", "missed_lesions", "false_lesions"),
    "brats2025": (
        *("nsd", "matched_dice", "matched_nsd", "matched_hd95"),
        *("matched_lesions", "missed_lesions", "false_lesions"),
    ),
}
# of a volume of 1000 voxels, where a region of 64 voxels is in neither mask, in one, or in both
TABLE: dict[str, dict[str, tuple[float, ...]]] = {
    "brats2021": {
        "neither": (1, 0, 0, 1, 1, 1),
        "invented": (0, 373.12866, 373.12866, 0, 936 / 1000, 0),
        "missed": (0, 373.12866, 373.12866, 0, 1, 0),
        "both": (1, 0, 0, 1, 1, 1),
    },
    "brats2023": {
        "neither": (1, 0, 0, 1, 1, 1, 1, 0, 0, 0),
        "invented": (0, 374, 374, 0, 936 / 1000, 0, 0, 374, 0, 1),
        "missed": (0, 374, 374, 0, 1, 0, 0, 374, 1, 0),
        "both": (1, 0, 0, 1, 1, 1, 1, 0, 0, 0),
    },
    "brats2025": {
        "neither": (NAN, NAN, NAN, NAN, 1, NAN, NAN, NAN, NAN, NAN, 0, 0, 0),
        "invented": (0, 373, 373, 0, 936 / 1000, 0, 0, 0, 0, 373, 0, 0, 1),
        "missed": (0, 373, 373, 0, 1, 0, 0, 0, 0, 373, 0, 1, 0),
        "both": (1, 0, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0),
    },
    "monai": {
        "neither": (NAN, NAN, NAN, NAN, 1, NAN),
        "invented": (NAN, NAN, NAN, NAN, 936 / 1000, 0),
        "missed": (0, NAN, NAN, 0, 1, 0),
        "both": (1, 0, 0, 1, 1, 1),
    },
}


def region(
    scoring_rules: str,
    *,
    predicted: bool | np.ndarray,
    true: bool | np.ndarray,
    probabilities: np.ndarray | None = None,
) -> Brats2021:
    cube = np.zeros((10, 10, 10), dtype=bool)
    cube[3:7, 3:7, 3:7] = True
    return SCORING_RULES[scoring_rules](cube & predicted, cube & true, spacing=(1, 1, 1), probabilities=probabilities)


@pytest.mark.parametrize("row", ["neither", "invented", "missed", "both"])
@pytest.mark.parametrize("scoring_rules", SCORING_RULES)
def test_what_is_missed_or_invented_counts_as_the_scoring_rules_say(scoring_rules: str, row: str) -> None:
    found = region(scoring_rules, predicted=row in ("invented", "both"), true=row in ("missed", "both"))
    wanted = TABLE[scoring_rules][row]
    metrics = [getattr(found, metric)() for metric in (*METRICS, *LESION_METRICS.get(scoring_rules, ()))]
    assert metrics == pytest.approx(wanted, nan_ok=True, abs=1e-5)


def test_scoring_rules_list_their_metrics_in_the_order_of_tables() -> None:
    wanted = (
        *("dice", "hd95", "pooled_hd95", "sensitivity", "specificity", "surface_dice"),
        *("volume_ml", "true_volume_ml", "lesions", "true_lesions", "calibration_error"),
    )
    assert SCORING_RULES["brats2021"].metrics == SCORING_RULES["monai"].metrics == wanted
    for name, lesion_metrics in LESION_METRICS.items():
        assert SCORING_RULES[name].metrics == (*wanted, *lesion_metrics)
    for rules in SCORING_RULES.values():
        assert rules.headline in rules.metrics
        assert all(callable(getattr(rules, metric)) for metric in rules.metrics)


def test_regions_that_do_not_overlap_have_the_worst_pooled_hd95_of_2025_alone() -> None:
    masks = np.zeros((2, 10, 10, 10), dtype=bool)
    masks[0, 0], masks[1, 3] = True, True
    pooled = {name: rules(*masks, spacing=(1, 1, 1)).pooled_hd95() for name, rules in SCORING_RULES.items()}
    assert pooled == {"brats2021": 3, "brats2023": 3, "brats2025": 373, "monai": 3}


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.0)])
def test_nsd_of_a_region_is_the_share_of_surface_voxels_that_both_masks_share(spacing: tuple[float, ...]) -> None:
    masks = np.zeros((2, 10, 10, 10), dtype=bool)
    masks[0, 2:4, 2:6, 2:6], masks[1, 2:4, 2:6, 2:8] = True, True
    # flat: every voxel of 2 x 4 x 4 and 2 x 4 x 6 is at the surface
    assert Brats2025(*masks, spacing=spacing).nsd() == pytest.approx((32 / 32 + 32 / 48) / 2)


def test_a_truth_without_negatives_has_specificity_1() -> None:
    full = np.ones((2, 2, 2), dtype=bool)
    assert SCORING_RULES["brats2021"](~full, full, spacing=(1, 1, 1)).specificity() == 1
    assert math.isnan(SCORING_RULES["monai"](~full, full, spacing=(1, 1, 1)).specificity())


def test_volumes_are_in_ml_and_lesions_counted() -> None:
    prediction, truth = np.zeros((2, 10, 10, 10), dtype=bool)
    prediction[0, 0, :5] = truth[:5, 0, 0] = truth[9, 9, 9] = True
    found = SCORING_RULES["brats2021"](prediction, truth, spacing=(2, 10, 5))
    assert (found.volume_ml(), found.true_volume_ml()) == (0.5, 0.6)
    assert (found.lesions(), found.true_lesions()) == (1, 2)


def test_calibration_needs_probabilities_and_a_region() -> None:
    probabilities = np.full((10, 10, 10), 0.75)
    assert math.isnan(region("brats2021", predicted=True, true=True).calibration_error())
    assert math.isnan(region("brats2021", predicted=False, true=False, probabilities=probabilities).calibration_error())
    # all voxels lie within 10 mm of the cube; 64 of 1000 are true
    for predicted, true, wanted in ((True, True, 0.686), (False, True, 0.686), (True, False, 0.75)):
        found = region("brats2021", predicted=predicted, true=true, probabilities=probabilities)
        assert found.calibration_error() == pytest.approx(wanted)


@needs_real_cases
@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("dice", DiceMetric),
        ("hd95", lambda: HausdorffDistanceMetric(include_background=True, percentile=95)),
        ("sensitivity", lambda: ConfusionMatrixMetric(metric_name="sensitivity", compute_sample=True)),
        ("specificity", lambda: ConfusionMatrixMetric(metric_name="specificity", compute_sample=True)),
        ("surface_dice", lambda: SurfaceDiceMetric([1.0] * 3, include_background=True)),
    ],
)
def test_monai_is_what_monai_gives_for_the_whole_volume(name: str, metric: Callable[[], Metric]) -> None:
    spacing = (1.1, 0.9, 0.7)
    keywords = {"spacing": spacing} if name in ("hd95", "surface_dice") else {}
    found, wanted = [], []
    for prediction, truth in list(real_pairs())[:27]:
        found.append(
            [getattr(SCORING_RULES["monai"](p, t, spacing=spacing), name)() for p, t in zip(prediction, truth)]
        )
        pair = (torch.from_numpy(mask.copy()).float()[None] for mask in (prediction, truth))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = metric()(*pair, **keywords)
        if isinstance(metric(), ConfusionMatrixMetric):
            tp, fp, tn, fn = values.double().unbind(-1)
            values = tp / (tp + fn) if name == "sensitivity" else tn / (tn + fp)
        wanted.append(values[0].tolist())
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    assert name == "specificity" or np.isnan(found).any()
