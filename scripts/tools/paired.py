# SPDX-License-Identifier: Apache-2.0
"""Values of single cases out of the tables of an evaluation, and differences of two evaluations paired by patient."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

from scripts.brats import REGIONS

RESAMPLES = 9999
# values of one evaluation: key (case, region), NaN where undefined
Values = dict[tuple[str, str], float]


def read_rows(path: Path) -> list[dict[str, str]]:
    """Returns the rows of a CSV file."""
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def to_number(text: str) -> float:
    """Returns the number of a CSV field, NaN for an empty one."""
    return float(text) if text else float("nan")


def read_column(path: Path, name: str) -> Values:
    """Returns a column of a CSV file that has a row for each case and region."""
    return {(row["case"], row["region"]): to_number(row[name]) for row in read_rows(path)}


def by_patient(runs: Sequence[Values]) -> dict[str, float]:
    """Returns the mean of each case over regions and runs, without cases that have no defined value."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for values in runs:
        for (case, _), value in values.items():
            found[case].append(value)
    return {case: float(np.nanmean(values)) for case, values in found.items() if not np.isnan(values).all()}


def by_region(values: Values, *, digits: int) -> str:
    """Returns the mean over cases of each region, separated by slashes."""
    means = (np.nanmean([value for (_, region), value in values.items() if region == name]) for name in REGIONS)
    return " / ".join(f"{mean:.{digits}f}" for mean in means)


def difference(values: Mapping[str, float], others: Mapping[str, float]) -> str:
    """Returns the mean difference of the shared cases with its 95 % bootstrap interval, '' for fewer than 2."""
    shared = [case for case in values if case in others]
    if len(shared) < 2:
        return ""
    differences = np.array([values[case] - others[case] for case in shared])
    interval = bootstrap((differences,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=0).confidence_interval
    return f"{differences.mean():+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"
