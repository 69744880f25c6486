# SPDX-License-Identifier: Apache-2.0
"""Comparison of the arms: means over patients and seeds, and differences paired by patient."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

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
}
OF_CRITICS: dict[str, Callable[[Cell], Values]] = {
    "critic's AUROC near the surface, minus entropy's": auroc_gain("boundary"),
    "the same in the neighbourhood": auroc_gain("neighbourhood"),
}


def compare(cells: Sequence[Cell]) -> str:
    """Returns a Markdown table for each measure: every arm's mean, its difference from the first arm, and its spread.

    Only patients and seeds that all arms have are compared. A patient's value is its mean over regions and seeds; the
    interval of the difference is the 95 % bootstrap interval over patients. It does not hold that another run of the
    same arm ends elsewhere: for that stands the standard deviation of the difference over runs, pairs of seed and fold.
    Measures of the critic are left out where no arm trains one; an arm that does not has an untrained one, whose AUROC
    is the entropy's.

    Args:
        cells: cells that are done.
    """
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    runs: defaultdict[tuple[int, int], dict[str, Cell]] = defaultdict(dict)
    for cell in cells:
        runs[cell.seed, cell.fold][cell.arm] = cell
    complete = [run for run in runs.values() if len(run) == len(arms)]
    lines = [f"{len(complete)} of {len(runs)} pairs of seed and fold have all arms; the others are left out.\n"]
    measures = MEASURES | (OF_CRITICS if any(cell.settings.get("lambda_critic") != 0 for cell in cells) else {})
    for name, read in measures.items() if complete else ():
        values = {arm: [read(run[arm]) for run in complete] for arm in arms}
        patients = {arm: by_patient(values[arm]) for arm in arms}
        by_run = {arm: [by_patient([run]) for run in values[arm]] for arm in arms}
        first, *others = arms
        lines += [f"| {name} | mean | minus {first} (95 %) | SD over runs |", "|---|---|---|---|"]
        lines += [f"| {first} | {_mean(patients[first])} | | |"]
        for arm in others:
            gain, spread = difference(patients[arm], patients[first]), _spread(by_run[arm], by_run[first])
            lines.append(f"| {arm} | {_mean(patients[arm])} | {gain} | {spread} |")
        lines.append("")
    return "\n".join(lines)


def _mean(values: dict[str, float]) -> str:
    return f"{np.mean(list(values.values())):.4f}" if values else "none"


def _spread(runs: Sequence[dict[str, float]], others: Sequence[dict[str, float]]) -> str:
    """Returns the standard deviation over runs of the mean difference of the patients that both have."""
    differences = [
        np.mean([values[case] - other[case] for case in values if case in other])
        for values, other in zip(runs, others)
        if values.keys() & other.keys()
    ]
    return f"{np.std(differences, ddof=1):.4f}" if len(differences) > 1 else ""
