# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from scripts.brats import REGIONS
from scripts.evaluation.reliability.summary import summarise


def make_rows(
    critic: float, entropy: float, *, confidence: tuple[float, ...] = (0.9, 0.2, 0.4)
) -> list[dict[str, Any]]:
    scores = {
        f"{score}_{name}": value
        for score in ("auroc", "average_precision")
        for name, value in (("critic", critic), ("entropy", entropy))
    }
    scores |= {"wrong_share": 0.1, "voxels": 10}
    zones = {f"{zone}_{name}": value for zone in ("boundary", "neighbourhood") for name, value in scores.items()}
    return [
        {"case": str(i), "region": region, "dice": dice, "mean_confidence": c, "mean_entropy": -dice}
        | {
            "expected_dice_critic": c,
            "expected_dice_entropy": 0.5,
            "neighbourhood_calibration": [(10, 3, 4), (10, 8, 7)],
        }
        | {"boundary_calibration": [(10, 3, 2), (0, 0, 0)]}
        | {"volume_ml": 5.0, "volume_low_ml": 10 * dice, "volume_high_ml": 20.0}
        | zones
        for i, (dice, c) in enumerate(zip((0.9, 0.1, 0.5), confidence))
        for region in REGIONS
    ]


@pytest.mark.parametrize(
    ("critic", "entropy", "words"),
    [(0.7, 0.8, "worse than"), (0.8, 0.7, "better than"), (0.7, 0.7, "as well as")],
)
def test_the_verdict_says_who_wins(critic: float, entropy: float, words: str) -> None:
    verdict = summarise(make_rows(critic, entropy))["verdict"]
    assert f"the critic finds wrong voxels {words} the entropy: AUROC {critic:.3f} against {entropy:.3f}" in verdict[0]
    assert "N = 9" in verdict[0]


def test_correlations_are_of_ranks_and_have_the_right_sign() -> None:
    found = summarise(make_rows(0.7, 0.8, confidence=(0.4, 0.2, 0.9)))["correlation"]["WT"]
    # of the ranks 3, 1, 2 and 2, 1, 3: 1 - 6 * 2 / (3 * 8)
    assert found["critic"] == pytest.approx(0.5)
    assert found["entropy"] == pytest.approx(1)
    assert found["n"] == 3
    few = summarise(make_rows(0.7, 0.8)[:6])["correlation"]["WT"]
    assert few == {"n": 2, "critic": None, "entropy": None}


def test_means_leave_out_and_count_what_cannot_be_scored() -> None:
    rows = make_rows(0.6, 0.8)
    for row in rows[::3]:
        row["boundary_auroc_critic"] = math.nan
    rows[1]["boundary_auroc_critic"] = 0.9
    zones = summarise(rows)["zones"]["boundary"]
    unknown = {"mean": None, "low": None, "high": None}
    assert zones["TC"] == {
        name: 0 if name == "n" else unknown if name.endswith("difference") else None for name in zones["TC"]
    }
    assert zones["WT"]["auroc_critic"] == pytest.approx(0.7)
    assert zones["all"]["n"] == 6


def test_differences_have_the_interval_of_resampled_cases_with_all_their_regions() -> None:
    rows = make_rows(0.6, 0.8)
    for row, critic in zip(rows, (0.5, 0.6, 0.7, 0.9, 0.9, 0.9, 0.7, 0.8, math.nan)):
        row["boundary_auroc_critic"] = critic
    found = summarise(rows)["zones"]["boundary"]["all"]["auroc_difference"]
    # of the three cases: differences -0.3, -0.2, -0.1; 0.1, 0.1, 0.1; -0.1, 0
    cases = [(-0.6, 3), (0.3, 3), (-0.1, 2)]
    drawn = [
        sum(total for total, _ in draw) / sum(count for _, count in draw) for draw in itertools.product(cases, repeat=3)
    ]
    assert found["mean"] == pytest.approx(-0.4 / 8)
    # 27 equally likely resamples; their 2.5th and 97.5th percentiles are the extremes, whatever the random numbers
    assert (found["low"], found["high"]) == pytest.approx((min(drawn), max(drawn)))


def test_one_case_has_a_difference_and_no_interval() -> None:
    found = summarise(make_rows(0.6, 0.8)[:3])["zones"]["neighbourhood"]["all"]["average_precision_difference"]
    assert found == {"mean": pytest.approx(-0.2), "low": None, "high": None}


def test_the_expected_dice_is_held_against_the_true_one() -> None:
    found = summarise(make_rows(0.7, 0.8))["expected_dice"]["ET"]
    # of confidences 0.9, 0.2 and 0.4 for Dice 0.9, 0.1 and 0.5
    assert found["correlation_critic"] == pytest.approx(1)
    assert found["error_critic"] == pytest.approx(0.2 / 3)
    assert found["correlation_entropy"] is None
    assert found["error_entropy"] == pytest.approx(0.8 / 3)
    rows = make_rows(0.7, 0.8)
    for row in rows[1::3]:
        row["expected_dice_critic"] = -row["expected_dice_critic"]
    rows[0]["expected_dice_critic"] = math.nan
    means = summarise(rows)["expected_dice"]["all"]
    assert means["n"] == 8
    # TC has two cases left, which have no correlation; WT has -1 and ET 1
    assert means["correlation_critic"] == pytest.approx(0)


def test_the_verdict_says_from_where_to_take_size_and_order_of_the_expected_dice() -> None:
    rows = make_rows(0.7, 0.8)
    assert not any("expected Dice" in line for line in summarise(rows)["verdict"])  # constant values have no order
    for row, expected in zip(rows, (0.7, 0.7, 0.7, 0.2, 0.2, 0.2, 0.8, 0.8, 0.8)):
        row["expected_dice_entropy"] = expected
    line = summarise(rows)["verdict"][-1]
    assert "size of the expected Dice from the critic (mean error 0.067 against 0.200)" in line
    assert "order of cases from the critic (rank correlation 1.000 against 0.500)" in line
    for row in rows:
        row["expected_dice_critic"], row["expected_dice_entropy"] = 1 - row["dice"], row["dice"] / 2
    line = summarise(rows)["verdict"][-1]
    assert "size of the expected Dice from the probabilities" in line
    assert "order of cases from the probabilities (rank correlation 1.000 against -1.000)" in line


def test_intervals_are_counted_and_bins_are_pooled() -> None:
    summary = summarise(make_rows(0.7, 0.8))
    assert summary["volume_interval"] == {"n": 9, "held": 6}
    near, around = summary["calibration"]["boundary"], summary["calibration"]["neighbourhood"]
    assert around["error"] == pytest.approx(0.1)
    assert around["bins"][0] == pytest.approx({"confidence": 0.3, "right": 0.4, "voxels": 90})
    assert near == {
        "error": pytest.approx(0.1),
        "bins": [pytest.approx({"confidence": 0.3, "right": 0.2, "voxels": 90})],
    }
