# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.base.errors import BundleError
from scripts.evaluation.report.summary import describe, paper_table, summarise, summary_markdown, summary_record
from tests.tolerances import EXACT

NAN = float("nan")
DICE = np.array([[0.5, 0.8, 0.0], [0.7, 0.9, NAN], [0.6, 0.7, 1.0], [0.9, 0.6, NAN]])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.integers(0, 3))
def test_statistics_are_those_of_the_cases_that_have_the_metric(values: list[float], unknown: int) -> None:
    found = describe(np.array([NAN] * unknown + values))
    assert (found["n"], found["left_out"]) == (len(values), unknown)
    quartiles = statistics.quantiles(values, method="inclusive")
    expected = dict(zip(("q1", "median", "q3"), quartiles))
    expected |= {"mean": statistics.fmean(values), "sd": statistics.stdev(values)}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=EXACT)
    low, high = found["low95"], found["high95"]
    assert low is not None
    assert high is not None
    assert min(values) - EXACT <= low <= statistics.fmean(values) + EXACT
    assert statistics.fmean(values) - EXACT <= high <= max(values) + EXACT


def test_the_interval_is_that_of_resampled_means_and_repeats() -> None:
    values = np.random.default_rng(1).normal(10, 2, 40)
    draws = np.random.default_rng(2).choice(values, (20000, 40)).mean(axis=1)
    found = describe(values)
    # percentiles of 9,999 and 20,000 means of deviation 0.32 have standard errors of 0.0084 and 0.006; five of both
    assert [found["low95"], found["high95"]] == pytest.approx(list(np.percentile(draws, [2.5, 97.5])), abs=0.05)
    assert describe(values) == found
    assert describe(values, seed=1) != found


def test_cases_that_are_equal_too_few_or_none_have_what_they_can_have() -> None:
    equal = describe(np.full(5, 0.25))
    assert (equal["sd"], equal["low95"], equal["high95"]) == (0, 0.25, 0.25)
    one = describe(np.array([0.0, NAN]))
    assert (one["n"], one["left_out"], one["mean"], one["median"]) == (1, 1, 0, 0)
    assert (one["sd"], one["low95"], one["high95"]) == (None, None, None)
    none = describe(np.array([NAN, NAN]))
    assert none.pop("n") == 0
    assert none.pop("left_out") == 2
    assert set(none.values()) == {None}


def test_a_mean_over_regions_is_given_where_it_says_something() -> None:
    summary = summarise({"volume_ml": np.ones((2, 3)), "dice": DICE[:2]})
    assert list(summary) == ["dice", "volume_ml"]
    assert list(summary["dice"]) == ["TC", "WT", "ET", "mean"]
    assert list(summary["volume_ml"]) == ["TC", "WT", "ET"]
    assert summary["dice"]["mean"]["mean"] == pytest.approx((1.3 / 3 + 0.8) / 2)
    with pytest.raises(BundleError, match="metrics: found"):
        summarise({})


def test_the_record_for_programs_has_none_for_what_is_unknown() -> None:
    summary = summarise({"dice": np.full((2, 3), NAN)})
    content = summary_record(summary, title="t", scoring_rules="monai", cases=2)
    assert (content["title"], content["scoring_rules"], content["cases"]) == ("t", "monai", 2)
    assert content["metrics"]["dice"]["WT"]["mean"] is None
    assert content["metrics"]["dice"]["WT"]["left_out"] == 2


def test_the_papers_table_has_its_classes_and_units() -> None:
    summary = summarise({"dice": DICE, "hd95": 10 * DICE, "volume_ml": DICE})
    assert paper_table(summary) == [
        ["Class", "Hausdorff distance (mm)", "Dice score (%)"],
        ["Enhancing tumour (ET)", "5.0000", "50.0000"],
        ["Tumour core (TC)", "6.7500", "67.5000"],
        ["Whole tumour (WT)", "7.5000", "75.0000"],
    ]


def test_the_summary_for_people_has_every_metric_and_who_was_left_out() -> None:
    metrics = {"dice": DICE, "lesions": np.array([[1.0, 2, 3]] * 4)}
    text = summary_markdown(metrics, summarise(metrics), title="Held-out cases", scoring_rules="monai")
    lines = text.splitlines()
    assert lines[:4] == ["# Held-out cases", "", "4 cases, scoring rules monai.", "**Not for diagnosis.**"]
    assert "| Metric | TC | WT | ET | mean |" in lines
    assert "|---|---:|---:|---:|---:|" in lines
    (dice,) = (line for line in lines if line.startswith("| Dice |"))
    assert dice.split(" | ")[1:3] == ["0.6750 ± 0.1708", "0.7500 ± 0.1291"]
    assert "| Lesions, predicted | 1.00 ± 0.00 | 2.00 ± 0.00 | 3.00 ± 0.00 |  |" in lines
    assert "left out, of 4 cases (no truth, or undefined): Dice ET 2" in lines
