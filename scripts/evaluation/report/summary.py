# SPDX-License-Identifier: Apache-2.0
"""Statistics of the metrics over the cases, for programs and for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from monai.config import NdarrayOrTensor as Array
from scipy.stats import bootstrap

from scripts.brats import NOT_FOR_DIAGNOSIS, REGION_NAMES, REGIONS
from scripts.evaluation.report.tables import HD95_NOTE, METRIC_FORMATS, case_means, checked, left_out_lines

RESAMPLES = 9999
# n, left_out, and, None if there are too few cases, mean, sd, median, q1, q3, low95, high95
Statistics = dict[str, float | None]
# by metric and region
Summary = dict[str, dict[str, Statistics]]


def summarise(metrics: Mapping[str, Array], *, seed: int = 0) -> Summary:
    """Returns the statistics of each metric over the cases, for each region and, if it is meaningful, for their mean.

    Args:
        metrics: values (N, 3) of cases and regions by names of `report.tables.METRIC_FORMATS`.
        seed: seed of the bootstrap.

    Raises:
        BundleError: if there is no such metric or no case, or shapes differ.
    """
    summary = {}
    for name, values in checked(metrics).items():
        columns = dict(zip(REGIONS, values.T)) | ({"mean": case_means(values)} if METRIC_FORMATS[name].averaged else {})
        summary[name] = {region: describe(column, seed=seed) for region, column in columns.items()}
    return summary


def describe(values: np.ndarray, *, seed: int = 0) -> Statistics:
    """Returns mean, sample SD, median, quartiles and the 95 % percentile bootstrap interval of the mean of (N,) values.

    NaN is left out and counted.
    """
    kept = values[~np.isnan(values)]
    known: Statistics = dict.fromkeys(("mean", "sd", "median", "q1", "q3", "low95", "high95"))
    if len(kept):
        q1, median, q3 = np.percentile(kept, [25, 50, 75])
        known |= {"mean": float(kept.mean()), "median": float(median), "q1": float(q1), "q3": float(q3)}
    if len(kept) > 1:
        rng = np.random.default_rng(seed)
        # percentile, because BCa is undefined if all cases are equal
        result = bootstrap((kept,), np.mean, n_resamples=RESAMPLES, batch=1000, method="percentile", rng=rng)
        low, high = (float(bound) for bound in result.confidence_interval)
        known |= {"sd": float(kept.std(ddof=1)), "low95": low, "high95": high}
    return {"n": len(kept), "left_out": len(values) - len(kept), **known}


def summary_record(
    summary: Summary, *, title: str, scoring_rules: str, cases: int, missing: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Returns the content of `summary.json`; what is unknown is None, and `missing` is there if a case lacked any."""
    content = {"title": title, "scoring_rules": scoring_rules, "cases": cases, "metrics": summary}
    return content | ({"missing": missing} if missing else {}) | {"note": NOT_FOR_DIAGNOSIS}


def summary_markdown(
    metrics: Mapping[str, Array],
    summary: Summary,
    *,
    title: str,
    scoring_rules: str,
    missing: Mapping[str, str] | None = None,
) -> str:
    """Returns the summary for people: a table like the paper's Tables 1 and 2, then all statistics of every metric."""
    arrays = checked(metrics)
    lines = [f"# {title}", "", f"{len(next(iter(arrays.values())))} cases, scoring rules {scoring_rules}."]
    lines += [f"**{NOT_FOR_DIAGNOSIS}**", "", *_table(paper_table(summary)), ""]
    rows = [["Metric", *REGIONS, "mean"]]
    for name, regions in summary.items():
        described = [describe_in_words(name, regions[r]) if r in regions else ("",) * 3 for r in (*REGIONS, "mean")]
        headings = (METRIC_FORMATS[name].title, "— median [quartiles]", "— 95 % interval of the mean")
        rows += [[heading, *cells] for heading, cells in zip(headings, zip(*described))]
    lines += ["Mean ± SD over cases; `mean` is a case's mean over its regions.", "", *_table(rows)]
    lacking = [f"{case}: {words}" for case, words in (missing or {}).items()]
    notes = [*lacking, *left_out_lines(arrays), HD95_NOTE]
    return "\n".join([*lines, *(f"\n{line}" for line in notes)]) + "\n"


def paper_table(summary: Summary) -> list[list[str]]:
    """Returns the rows of a table like the paper's Tables 1 and 2, headings first, in mm and per cent."""
    names = [name for name in ("hd95", "dice", "sensitivity", "specificity") if name in summary]
    headings = {"hd95": "Hausdorff distance (mm)", "dice": "Dice score (%)"}
    rows = [["Class", *(headings.get(name, f"{METRIC_FORMATS[name].heading} (%)") for name in names)]]
    for region in ("ET", "TC", "WT"):
        means = [(summary[name][region]["mean"], 1 if name == "hd95" else 100) for name in names]
        cells = ["n/a" if mean is None else f"{mean * scale:.4f}" for mean, scale in means]
        rows.append([f"{REGION_NAMES[region]} ({region})", *cells])
    return rows


def describe_in_words(name: str, statistics: Statistics) -> tuple[str, str, str]:
    """Returns mean ± SD, median [quartiles] and 95 % interval of a metric as text, `n/a` for what is unknown."""
    words = {
        key: "n/a" if value is None else f"{value:.{METRIC_FORMATS[name].decimals}f}"
        for key, value in statistics.items()
    }
    return (
        f"{words['mean']} ± {words['sd']}",
        f"{words['median']} [{words['q1']}, {words['q3']}]",
        f"{words['low95']} to {words['high95']}",
    )


def _table(rows: list[list[str]]) -> list[str]:
    heading, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return [heading, "|---" + "|---:" * (len(rows[0]) - 1) + "|", *body]
