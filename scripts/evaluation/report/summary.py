# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from monai.config import NdarrayOrTensor as Array
from scipy.stats import bootstrap

from scripts.brats import NOT_FOR_DIAGNOSIS, REGION_NAMES, REGIONS
from scripts.evaluation.report.tables import METRIC_FORMATS, case_means, checked, left_out_lines

RESAMPLES = 9999
# n, left_out, and where there are enough cases mean, sd, median, q1, q3, low95, high95; None otherwise
Statistics = dict[str, float | None]
# by metric, then by region
Summary = dict[str, dict[str, Statistics]]


def summarise(metrics: Mapping[str, Array], *, seed: int = 0) -> Summary:
    """Describes each metric over the cases, for each region and, where that says anything, a case's mean of them.

    NaN is left out and counted. The interval is the 95 % percentile bootstrap of the mean over cases.

    Args:
        metrics: (N, 3) of cases and regions, by names of `report.tables.METRIC_FORMATS`.
        seed: of the bootstrap.

    Raises:
        BundleError: if there is no such metric or no case, or shapes differ.
    """
    summary = {}
    for name, values in checked(metrics).items():
        columns = dict(zip(REGIONS, values.T)) | ({"mean": case_means(values)} if METRIC_FORMATS[name].averaged else {})
        summary[name] = {region: describe(column, seed=seed) for region, column in columns.items()}
    return summary


def describe(values: np.ndarray, *, seed: int = 0) -> Statistics:
    """Mean, SD (of a sample), median, quartiles and the mean's 95 % bootstrap interval of (N,), NaN left out."""
    kept = values[~np.isnan(values)]
    known: Statistics = dict.fromkeys(("mean", "sd", "median", "q1", "q3", "low95", "high95"))
    if len(kept):
        q1, median, q3 = np.percentile(kept, [25, 50, 75])
        known |= {"mean": float(kept.mean()), "median": float(median), "q1": float(q1), "q3": float(q3)}
    if len(kept) > 1:
        rng = np.random.default_rng(seed)
        # percentile, as BCa is undefined where all cases are equal
        result = bootstrap((kept,), np.mean, n_resamples=RESAMPLES, batch=1000, method="percentile", rng=rng)
        low, high = (float(bound) for bound in result.confidence_interval)
        known |= {"sd": float(kept.std(ddof=1)), "low95": low, "high95": high}
    return {"n": len(kept), "left_out": len(values) - len(kept), **known}


def summary_json(summary: Summary, *, title: str, scoring_rules: str, cases: int) -> str:
    """The summary for programs; what is unknown is null."""
    content = {"title": title, "scoring_rules": scoring_rules, "cases": cases, "metrics": summary}
    return json.dumps(content | {"note": NOT_FOR_DIAGNOSIS}, indent=2, allow_nan=False) + "\n"


def summary_markdown(metrics: Mapping[str, Array], summary: Summary, *, title: str, scoring_rules: str) -> str:
    """The summary for people: a table in the shape of the paper's Tables 1 and 2, then every metric in full."""
    arrays = checked(metrics)
    lines = [f"# {title}", "", f"{len(next(iter(arrays.values())))} cases, scoring rules {scoring_rules}."]
    lines += [f"**{NOT_FOR_DIAGNOSIS}**", "", *_table(paper_table(summary)), ""]
    rows = [["Metric", *REGIONS, "mean"]]
    for name, regions in summary.items():
        described = [describe_in_words(name, regions[r]) if r in regions else ("",) * 3 for r in (*REGIONS, "mean")]
        headings = (METRIC_FORMATS[name].title, "— median [quartiles]", "— 95 % interval of the mean")
        rows += [[heading, *cells] for heading, cells in zip(headings, zip(*described))]
    lines += ["Mean ± SD over cases; `mean` is a case's mean over its regions.", "", *_table(rows)]
    return "\n".join([*lines, *(f"\n{line}" for line in left_out_lines(arrays))]) + "\n"


def paper_table(summary: Summary) -> list[list[str]]:
    """Rows of the paper's Tables 1 and 2, heading first: means by class, in mm and per cent."""
    names = [name for name in ("hd95", "dice", "sensitivity", "specificity") if name in summary]
    headings = {"hd95": "Hausdorff distance (mm)", "dice": "Dice score (%)"}
    rows = [["Class", *(headings.get(name, f"{METRIC_FORMATS[name].heading} (%)") for name in names)]]
    for region in ("ET", "TC", "WT"):
        means = [(summary[name][region]["mean"], 1 if name == "hd95" else 100) for name in names]
        cells = ["n/a" if mean is None else f"{mean * scale:.4f}" for mean, scale in means]
        rows.append([f"{REGION_NAMES[region]} ({region})", *cells])
    return rows


def describe_in_words(name: str, statistics: Statistics) -> tuple[str, str, str]:
    """Mean ± SD, median [quartiles] and 95 % interval of a metric, `n/a` where unknown."""
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
