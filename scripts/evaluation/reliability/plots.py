# SPDX-License-Identifier: Apache-2.0
"""Plots of the reliability: the diagram of the confidence in each zone, and expected against true Dice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.brats import NOT_FOR_DIAGNOSIS, REGION_COLOURS
from scripts.evaluation.reliability.scores import BINS, ZONES, Row
from scripts.evaluation.reliability.summary import UNCERTAINTY_NAMES, ZONE_TITLES, as_text
from scripts.evaluation.report.appearance import GRID, INK, QUIET, WARNING, to_png

STYLES: dict[str, dict[str, Any]] = {
    "critic": {"marker": "o", "filled": True, "shape": "dots"},
    "entropy": {"marker": "s", "filled": False, "shape": "squares"},
}


def draw_reliability(summary: Mapping[str, Any], rows: Sequence[Row]) -> bytes:
    """Returns a PNG of the confidence against the share of right voxels in each zone, and of the expected Dice.

    Below each diagram stands how many voxels have that confidence; above them, on the diagonal, the confidence is a
    probability. A dot of the last panel is a region of a case.

    Args:
        summary: as `summarise` returns it.
        rows: as `score_case` returns them.
    """
    figure = Figure(figsize=(12.4, 5.2), dpi=130, facecolor="white")
    grid = figure.add_gridspec(2, 3, height_ratios=(3.2, 1), hspace=0.12, wspace=0.24)
    figure.subplots_adjust(left=0.055, right=0.985, bottom=0.22, top=0.92)
    for column, zone in enumerate(ZONES):
        diagram, counts = figure.add_subplot(grid[0, column]), figure.add_subplot(grid[1, column])
        _draw_diagram(diagram, summary["calibration"][zone], title=ZONE_TITLES[zone])
        _draw_counts(counts, summary["calibration"][zone]["bins"])
        diagram.tick_params(labelbottom=False)
    _draw_expected_dice(figure.add_subplot(grid[:, 2]), summary["expected_dice"], rows)
    count = f"N = {summary['cases']} cases."
    figure.text(0.012, 0.025, f"{count} Dashed: as often right as the confidence says.", color=QUIET, fontsize=9)
    figure.text(0.985, 0.025, NOT_FOR_DIAGNOSIS, color=WARNING, fontsize=9, ha="right", weight="bold")
    return to_png(figure)


def _draw_diagram(axes: Axes, calibration: Mapping[str, Any], *, title: str) -> None:
    bins = calibration["bins"]
    _draw_diagonal(axes)
    axes.plot([b["confidence"] for b in bins], [b["right"] for b in bins], color=INK, marker="o", ms=5, lw=1.5)
    axes.set_title(f"{title[0].upper()}{title[1:]}", color=INK, fontsize=11)
    axes.set_ylabel("right voxels", color=INK)
    text = f"calibration error {as_text(calibration['error'])}"
    axes.text(0.03, 0.93, text, transform=axes.transAxes, color=INK, fontsize=10)
    _finish(axes)


def _draw_counts(axes: Axes, bins: Sequence[Mapping[str, float]]) -> None:
    left = [min(int(b["confidence"] * BINS), BINS - 1) / BINS for b in bins]
    axes.bar(left, [b["voxels"] for b in bins], width=1 / BINS, align="edge", color=QUIET, edgecolor="white")
    axes.set_yscale("log")
    axes.set_ylabel("voxels", color=INK)
    axes.set_xlabel("critic's confidence", color=INK)
    _finish(axes, square=False)


def _draw_expected_dice(axes: Axes, found: Mapping[str, Any], rows: Sequence[Row]) -> None:
    _draw_diagonal(axes)
    for name, style in STYLES.items():
        for region, colour in REGION_COLOURS.items():
            known = [row for row in rows if row["region"] == region]
            axes.scatter(
                [row[f"expected_dice_{name}"] for row in known],
                [row["dice"] for row in known],
                s=32,
                marker=style["marker"],
                color=colour if style["filled"] else "none",
                edgecolors=INK if style["filled"] else colour,
                linewidths=0.6 if style["filled"] else 1.2,
                label=region if style["filled"] else None,
                zorder=3,
            )
    lines = [
        f"{style['shape']}: {UNCERTAINTY_NAMES[name]}; rank correlation "
        f"{as_text(found['all'][f'correlation_{name}'])}, error {as_text(found['all'][f'error_{name}'])}"
        for name, style in STYLES.items()
    ]
    axes.text(-0.08, -0.16, "\n".join(lines), transform=axes.transAxes, color=QUIET, fontsize=9, va="top")
    axes.set_title("Expected against true Dice", color=INK, fontsize=11)
    axes.set_xlabel("expected Dice", color=INK)
    axes.set_ylabel("true Dice", color=INK)
    axes.legend(frameon=False, fontsize=9, loc="upper left", labelcolor=INK)
    _finish(axes)


def _draw_diagonal(axes: Axes) -> None:
    axes.plot([0, 1], [0, 1], color=QUIET, lw=1, ls="--")


def _finish(axes: Axes, *, square: bool = True) -> None:
    axes.set_xlim(-0.02, 1.02)
    if square:
        axes.set_ylim(-0.02, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
