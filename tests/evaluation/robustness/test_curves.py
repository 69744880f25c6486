# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest

from scripts.evaluation.robustness.curves import CLEAN, curves, interval, summarise

# two cases of three regions; of noise two severities, of PGD one
TABLE = {
    CLEAN: np.array([[0.8, 0.8, 0.4], [0.4, 0.8, 0.4]]),
    ("noise", 2.0): np.array([[0.2, 0.4, 0.2], [0.1, 0.4, 0.2]]),
    ("noise", 1.0): np.array([[0.8, 0.8, 0.4], [0.1, 0.8, 0.4]]),
    ("pgd", 0.01): np.array([[0.0, 0.2, 0.1], [0.0, 0.2, 0.1]]),
}
GROUPS = {"artefacts": ["noise", "blur"], "adversarial": ["pgd"]}


def test_curves_rise_from_the_clean_image_by_severity() -> None:
    noise = curves(TABLE)["noise"]
    assert noise["severity"] == [0, 1, 2]
    assert noise["dice"]["TC"] == pytest.approx([0.6, 0.45, 0.15])
    assert noise["dice"]["WT"] == pytest.approx([0.8, 0.8, 0.4])
    assert noise["kept"]["TC"] == pytest.approx([1, 0.75, 0.25])
    assert noise["kept"]["ET"] == pytest.approx([1, 1, 0.5])


def test_kept_is_the_mean_over_disturbances_severities_and_regions() -> None:
    summary = summarise({"a": TABLE}, GROUPS)["a"]
    assert summary["clean"] == pytest.approx({"TC": 0.6, "WT": 0.8, "ET": 0.4})
    # severity 1: 0.75, 1, 1; severity 2: 0.25, 0.5, 0.5
    assert summary["kept"]["artefacts"]["mean"] == pytest.approx(4 / 6)
    assert summary["kept"]["adversarial"]["mean"] == pytest.approx((0 + 0.25 + 0.25) / 3)
    assert list(summary["curves"]) == ["noise", "pgd"]


def test_the_interval_of_two_cases_goes_from_one_of_them_to_the_other() -> None:
    # a quarter of the draws is one case twice, more than the 2.5 % at either end
    found = interval([TABLE], ["noise"])
    first, second = (curves({c: dice[[i]] for c, dice in TABLE.items()})["noise"]["kept"] for i in range(2))
    means = [np.mean([values[1:] for values in kept.values()]) for kept in (first, second)]
    assert found is not None
    assert found["low"] == pytest.approx(min(means))
    assert found["high"] == pytest.approx(max(means))


def test_one_case_has_no_interval() -> None:
    found = interval([{c: dice[:1] for c, dice in TABLE.items()}], ["noise"])
    assert found == {"mean": pytest.approx((1 + 1 + 1 + 0.25 + 0.5 + 0.5) / 6), "low": None, "high": None}


def test_a_difference_is_paired_by_case() -> None:
    half = {c: dice if c == CLEAN else dice / 2 for c, dice in TABLE.items()}
    summary = summarise({"a": TABLE, "b": half}, GROUPS)
    difference = summary["b"]["against_first"]["artefacts"]
    assert difference["mean"] == pytest.approx(-4 / 12)
    assert summary["a"]["against_first"]["artefacts"] == {"mean": 0, "low": 0, "high": 0}
    assert difference["high"] < 0


def test_a_region_that_is_never_found_is_left_out_and_said_so() -> None:
    table = {c: dice * [1, 1, 0] for c, dice in TABLE.items()}
    assert curves(table)["noise"]["kept"]["ET"] == [None, None, None]
    found = interval([table], ["noise"])
    assert found is not None
    assert found["mean"] == pytest.approx((0.75 + 1 + 0.25 + 0.5) / 4)
    nothing = interval([{c: dice * 0 for c, dice in TABLE.items()}], ["noise"])
    assert nothing == {"mean": None, "low": None, "high": None}


def test_a_group_that_was_not_run_has_no_number() -> None:
    assert interval([TABLE], ["blur"]) is None
