# SPDX-License-Identifier: Apache-2.0
"""Curves of Dice against the severity of each disturbance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from scripts.brats import NOT_FOR_DIAGNOSIS, REGION_COLOURS
from scripts.evaluation.report.appearance import to_png
from scripts.evaluation.robustness.artefacts import ARTEFACTS
from scripts.evaluation.robustness.attacks import ATTACKS

STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))  # of the checkpoints, in turn
TITLES = {
    "random": "random change",
    "vat": "VAT's change",
    "pgd": "PGD",
    "bias_field": "bias field",
    "low_resolution": "thick slices",
}
MISSING = [name for name in ARTEFACTS if name.startswith("no_")]
Summary = Mapping[str, Any]


def draw_curves(summary: Summary) -> bytes:
    """Returns a PNG with a panel for each disturbance, a colour for each region and a line style for each checkpoint.

    Args:
        summary: content of `robustness.json`.
    """
    checkpoints = summary["checkpoints"]
    names = list(next(iter(checkpoints.values()))["curves"])
    panels = [[name] for name in names if name not in MISSING and name not in ATTACKS]
    panels += [missing] if (missing := [name for name in names if name in MISSING]) else []
    panels += [[name] for name in names if name in ATTACKS]
    columns = min(4, max(len(panels), 1))
    rows = max(math.ceil(len(panels) / columns), 1)
    figure = Figure(figsize=(3.1 * columns + 0.4, 2.5 * rows + 1.1), dpi=130, layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, panel in zip(grid, panels):
        _draw_panel(axes, panel, checkpoints)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for row in range(rows):
        grid[row * columns].set_ylabel("mean Dice")
    regions = [Line2D([], [], color=colour, label=region) for region, colour in REGION_COLOURS.items()]
    styles = [
        Line2D([], [], color="0.3", ls=line, marker=marker, ms=4, label=name)
        for name, (line, marker) in zip(checkpoints, itertools.cycle(STYLES))
    ]
    # long names, such as paths, need a line each
    across = len(regions) + len(styles) if sum(map(len, checkpoints)) < 80 else 1
    figure.legend(handles=regions + styles, loc="outside lower center", ncols=across, frameon=False)
    figure.suptitle(f"Dice under disturbance, {summary['cases']} cases at the working resolution. {NOT_FOR_DIAGNOSIS}")
    return to_png(figure)


def title_of(disturbance: str) -> str:
    """Returns the name of a disturbance as people read it."""
    return TITLES.get(disturbance, disturbance.replace("_", " "))


def _draw_panel(axes: Axes, panel: Sequence[str], checkpoints: Mapping[str, Any]) -> None:
    missing = panel[0] in MISSING
    for index, found in enumerate(checkpoints.values()):
        line, marker = STYLES[index % len(STYLES)]
        curves = [found["curves"][name] for name in panel]
        for region, colour in REGION_COLOURS.items():
            # missing modalities share a panel and form no curve: points, and a line at the clean value
            clean, *rest = [curves[0]["dice"][region][0], *(d for curve in curves for d in curve["dice"][region][1:])]
            if missing:
                axes.axhline(clean, color=colour, ls=line, lw=0.8)
                places, dice, line_shown = [i + 0.12 * index for i in range(len(rest))], rest, "none"
            else:
                places, dice, line_shown = curves[0]["severity"], [clean, *rest], line
            axes.plot(places, dice, ls=line_shown, color=colour, marker=marker, ms=4, clip_on=False, zorder=3)
    if missing:
        axes.set_xticks(range(len(panel)), [ARTEFACTS[name].unit.split()[0] for name in panel], fontsize=8)
        axes.set_xmargin(0.12)
    else:
        severities = curves[0]["severity"]
        axes.set_xticks(severities, ["clean", *(f"{s:g}" for s in severities[1:])], fontsize=8)
    axes.set_title("missing modality (line: none)" if missing else title_of(panel[0]), fontsize=10)
    kind = "RMS of the change" if panel[0] in ATTACKS else "severity"
    axes.set_xlabel("missing" if missing else kind, fontsize=8)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
