# SPDX-License-Identifier: Apache-2.0
"""Comparison of the arms: means over patients and seeds, and differences paired by patient."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import bootstrap

from scripts.tools.evidence.cells import Cell

RESAMPLES = 9999
# values of one case: key (case, region), NaN where undefined
Values = dict[tuple[str, str], float]


def column(path: str, name: str) -> Callable[[Cell], Values]:
    """Returns a function that reads a column of a CSV file of a cell."""
    return lambda cell: {(row["case"], row["region"]): _number(row[name]) for row in _rows(cell.folder / path)}


def kept_under(*names: str) -> Callable[[Cell], Values]:
    """Returns a function that reads Dice under disturbances, averaged over them."""

    def read(cell: Cell) -> Values:
        found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for row in _rows(cell.folder / "robustness" / "robustness.csv"):
            if row["artefact"] in names:
                found[row["case"], row["region"]].append(_number(row["dice"]))
        return {key: float(np.mean(values)) for key, values in found.items()}

    return read


def auroc_gain(zone: str) -> Callable[[Cell], Values]:
    """Returns a function that reads the critic's AUROC for wrong voxels minus that of the entropy."""

    def read(cell: Cell) -> Values:
        critic, entropy = (
            column("evaluated/reliability.csv", f"{zone}_auroc_{of}")(cell) for of in ("critic", "entropy")
        )
        return {key: critic[key] - entropy[key] for key in critic}

    return read


MEASURES: dict[str, Callable[[Cell], Values]] = {
    "Dice": column("evaluated/per_case.csv", "dice"),
    "HD95, mm": column("evaluated/per_case.csv", "hd95"),
    "calibration error": column("evaluated/per_case.csv", "calibration_error"),
    "Dice under artefacts": kept_under("bias_field", "noise", "motion"),
    "Dice under PGD": kept_under("pgd"),
    "critic's AUROC near the surface, minus entropy's": auroc_gain("boundary"),
    "the same in the neighbourhood": auroc_gain("neighbourhood"),
}


def compare(cells: Sequence[Cell]) -> str:
    """Returns a Markdown table for each measure: every arm's mean and its difference from the first arm.

    Only patients and seeds that all arms have are compared. A patient's value is its mean over regions and seeds; the
    interval of the difference is the 95 % bootstrap interval over patients.

    Args:
        cells: cells that are done.
    """
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    runs: defaultdict[tuple[int, int], dict[str, Cell]] = defaultdict(dict)
    for cell in cells:
        runs[cell.seed, cell.fold][cell.arm] = cell
    complete = [run for run in runs.values() if len(run) == len(arms)]
    lines = [f"{len(complete)} of {len(runs)} pairs of seed and fold have all arms; the others are left out.\n"]
    for name, read in MEASURES.items() if complete else ():
        patients = {arm: _by_patient([read(run[arm]) for run in complete]) for arm in arms}
        lines += [f"| {name} | mean | minus {arms[0]} (95 %) |", "|---|---|---|"]
        lines += [f"| {arm} | {_row(patients[arm], patients[arms[0]], first=arm == arms[0])} |" for arm in arms]
        lines.append("")
    return "\n".join(lines)


def _by_patient(runs: Sequence[Values]) -> dict[str, float]:
    found: defaultdict[str, list[float]] = defaultdict(list)
    for values in runs:
        for (case, _), value in values.items():
            found[case].append(value)
    return {case: float(np.nanmean(values)) for case, values in found.items() if not np.isnan(values).all()}


def _row(values: dict[str, float], first_values: dict[str, float], *, first: bool) -> str:
    if not values:
        return "none | "
    mean = f"{np.mean(list(values.values())):.4f} | "
    shared = [case for case in values if case in first_values]
    if first or len(shared) < 2:
        return mean
    differences = np.array([values[case] - first_values[case] for case in shared])
    interval = bootstrap((differences,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=0).confidence_interval
    return f"{mean}{differences.mean():+.4f} ({interval.low:+.4f} to {interval.high:+.4f})"


def _rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def _number(text: str) -> float:
    return float(text) if text else float("nan")
