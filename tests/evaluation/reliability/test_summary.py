# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

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
        {"case": str(i), "region": region, "dice": dice, "mean_confidence": c, "mean_entropy": -dice, **zones}
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
    assert zones["TC"] == {"n": 0} | {name: None for name in zones["TC"] if name != "n"}
    assert zones["WT"]["auroc_critic"] == pytest.approx(0.7)
    assert zones["all"]["n"] == 6
