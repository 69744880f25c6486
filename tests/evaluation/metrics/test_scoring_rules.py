# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest

from scripts.evaluation.metrics.scoring_rules import SCORING_RULES, Brats2021
from tests.masks import WORST
from tests.tolerances import EXACT

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
        "invented": (0, WORST["brats2021"], WORST["brats2021"], 0, 936 / 1000, 0),
        "missed": (0, WORST["brats2021"], WORST["brats2021"], 0, 1, 0),
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
    assert metrics == pytest.approx(wanted, nan_ok=True, abs=EXACT)


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
