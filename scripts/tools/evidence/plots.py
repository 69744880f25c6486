# SPDX-License-Identifier: Apache-2.0
"""Picture of the experiments: what each part of the method changes, and what labels are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import sem

from scripts.brats import NOT_FOR_DIAGNOSIS
from scripts.evaluation.report.appearance import GRID, INK, QUIET, WARNING, to_png
from scripts.tools.evidence.arms import ALONE, WITH_VAT
from scripts.tools.evidence.cells import Cell
from scripts.tools.evidence.comparison import MEASURES, Run, by_run, run_differences
from scripts.tools.evidence.labels import WITH_THE_OTHERS
from scripts.tools.paired import by_patient

OF_PARTS = {"Dice": (INK, "o"), "Dice under PGD": (WARNING, "s")}
OF_LABELS = {ALONE: (QUIET, "o"), WITH_VAT: (WARNING, "s"), WITH_THE_OTHERS: ("#1d4ed8", "^")}


def draw_evidence(parts: Sequence[Cell], labels: Mapping[int, Sequence[Cell]]) -> bytes:
    """Returns a PNG with a panel for each experiment; bars are the standard error over runs.

    Args:
        parts: cells of the first experiment, all done.
        labels: done cells with so many labelled patients.
    """
    figure = Figure(figsize=(9.6, 4.2), dpi=130, facecolor="white", layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_parts(left, by_run(parts))
    draw_labels(right, {labelled: by_run(cells) for labelled, cells in labels.items()})
    for axes in (left, right):
        axes.grid(color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    figure.supxlabel(
        f"bars: standard error over runs of small networks. {NOT_FOR_DIAGNOSIS}", color=WARNING, fontsize=9
    )
    return to_png(figure)


def draw_parts(axes: Axes, runs: Sequence[Run]) -> None:
    """Draws each arm's difference from the first."""
    first, *others = runs[0]
    places = np.arange(len(others), 0, -1)
    for shift, (name, (colour, marker)) in zip((0.12, -0.12), OF_PARTS.items()):
        values = {arm: [MEASURES[name](run[arm]) for run in runs] for arm in (first, *others)}
        found = [_mean_and_error(run_differences(values[arm], values[first])) for arm in others]
        means, errors = zip(*found)
        axes.errorbar(means, places + shift, xerr=errors, fmt=marker, ms=5, color=colour, capsize=3, label=name)
    axes.axvline(0, color=QUIET, linewidth=1)
    axes.set_yticks(places, [arm.removeprefix(f"{first}, ").replace(", ", "\nand ") for arm in others], fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_title(f"minus {first} alone", fontsize=12)


def draw_labels(axes: Axes, runs: Mapping[int, Sequence[Run]]) -> None:
    """Draws the mean Dice of each arm against the number of labelled patients."""
    for arm, (colour, marker) in OF_LABELS.items():
        counts = [labelled for labelled in sorted(runs) if arm in runs[labelled][0]]
        dice = [[MEASURES["Dice"](run[arm]) for run in runs[labelled]] for labelled in counts]
        found = [_mean_and_error([float(np.mean(list(by_patient([run]).values()))) for run in row]) for row in dice]
        if found:
            means, errors = zip(*found)
            axes.errorbar(counts, means, yerr=errors, marker=marker, ms=5, color=colour, capsize=3, label=arm)
    axes.set_xticks(sorted(runs))
    axes.set_title("Dice by labelled patients", fontsize=12)


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(sem(values)) if len(values) > 1 else 0.0
