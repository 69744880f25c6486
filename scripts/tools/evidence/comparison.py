# SPDX-License-Identifier: Apache-2.0
"""Comparison of the arms: means over patients and seeds, and differences paired by patient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import sem

from scripts.tools.evidence.cells import Cell
from scripts.tools.paired import Values, by_patient, difference, read_column, read_rows, to_number


def column(path: str, name: str) -> Callable[[Cell], Values]:
    """Returns a function that reads a column of a CSV file of a cell."""
    return lambda cell: read_column(cell.folder / path, name)


def kept_under(*names: str) -> Callable[[Cell], Values]:
    """Returns a function that reads Dice under disturbances, averaged over them."""

    def read(cell: Cell) -> Values:
        found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        for row in read_rows(cell.folder / "robustness" / "robustness.csv"):
            if row["artefact"] in names:
                found[row["case"], row["region"]].append(to_number(row["dice"]))
        return {key: float(np.mean(values)) for key, values in found.items()}

    return read


MEASURES: dict[str, Callable[[Cell], Values]] = {
    "Dice": column("evaluated/per_case.csv", "dice"),
    "HD95, mm": column("evaluated/per_case.csv", "hd95"),
    "calibration error": column("evaluated/per_case.csv", "calibration_error"),
    "Dice under artefacts": kept_under("bias_field", "noise", "motion"),
    "Dice under PGD": kept_under("pgd"),
}
# zones of reliability.csv
ZONES = {"boundary": "near the surface", "neighbourhood": "in the neighbourhood"}

Run = dict[str, Cell]  # by arm


def compare(cells: Sequence[Cell]) -> str:
    """Returns a Markdown table for each measure: every arm's mean and its difference from the first arm.

    A patient's value is its mean over regions and seeds; the interval of the difference is the 95 % bootstrap interval
    over patients. It does not hold that another run of the same arm ends elsewhere: for that stand the difference's
    standard error (SE) over runs, pairs of seed and fold, and the number of runs in which it is above 0. For the arms
    that train a critic there are tables of its AUROC for wrong voxels, against that of the entropy.

    Args:
        cells: cells that are done, of the same arms in each run.
    """
    runs = by_run(cells)
    arms = list(runs[0])
    critics = [arm for arm in arms if runs[0][arm].settings.get("lambda_critic") != 0]
    lines = [f"{len(runs)} runs, pairs of seed and fold.\n"]
    lines += [line for name, read in MEASURES.items() for line in _arms_table(name, read, runs, arms)]
    lines += [line for zone in ZONES if critics for line in _critics_table(zone, runs, critics)]
    return "\n".join(lines)


def by_run(cells: Sequence[Cell]) -> list[Run]:
    """Returns the arms of each pair of seed and fold, in the order of the cells."""
    runs: defaultdict[tuple[int, int], Run] = defaultdict(dict)
    for cell in cells:
        runs[cell.seed, cell.fold][cell.arm] = cell
    return list(runs.values())


def _arms_table(name: str, read: Callable[[Cell], Values], runs: Sequence[Run], arms: Sequence[str]) -> list[str]:
    first, *others = arms
    values = {arm: [read(run[arm]) for run in runs] for arm in arms}
    lines = [f"| {name} | mean | minus {first} (95 %) | SE over runs | runs above 0 |", f"|{'---|' * 5}"]
    lines += [f"| {first} | {_mean(values[first])} | | | |"]
    lines += [f"| {arm} | {_mean(values[arm])} | {_gain(values[arm], values[first])} |" for arm in others]
    return [*lines, ""]


def _critics_table(zone: str, runs: Sequence[Run], arms: Sequence[str]) -> list[str]:
    lines = [
        f"| AUROC {ZONES[zone]} | critic | entropy | critic minus entropy (95 %) | SE over runs | runs above 0 |",
        f"|{'---|' * 6}",
    ]
    for arm in arms:
        critic, entropy = (
            [column("evaluated/reliability.csv", f"{zone}_auroc_{of}")(run[arm]) for run in runs]
            for of in ("critic", "entropy")
        )
        lines.append(f"| {arm} | {_mean(critic)} | {_mean(entropy)} | {_gain(critic, entropy)} |")
    return [*lines, ""]


def _mean(runs: Sequence[Values]) -> str:
    values = by_patient(runs)
    return f"{np.mean(list(values.values())):.4f}" if values else "none"


def _gain(runs: Sequence[Values], others: Sequence[Values]) -> str:
    """Returns three fields: the difference with its interval, its error over runs, and how many runs are above 0."""
    differences = run_differences(runs, others)
    error = f"{sem(differences):.4f}" if len(differences) > 1 else ""
    above = f"{sum(value > 0 for value in differences)} of {len(differences)}"
    return f"{difference(by_patient(runs), by_patient(others))} | {error} | {above}"


def run_differences(runs: Sequence[Values], others: Sequence[Values]) -> list[float]:
    """Returns for each run the mean difference of the patients that both have a value of, without runs of none."""
    pairs = [(by_patient([values]), by_patient([other])) for values, other in zip(runs, others, strict=True)]
    shared = [[values[case] - other[case] for case in values if case in other] for values, other in pairs]
    return [float(np.mean(found)) for found in shared if found]
