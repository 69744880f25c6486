# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import base64
import io
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from monai.config import PathLike

from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS
from scripts.evaluation.report.sections import Section, html_table
from scripts.evaluation.robustness.artefacts import ARTEFACTS
from scripts.evaluation.robustness.attacks import ATTACKS

COLOURS = {"TC": "#0072b2", "WT": "#009e73", "ET": "#d55e00"}  # told apart by the colour-blind (Okabe and Ito)
STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))  # lines and markers of the checkpoints, in turn
TITLES = {
    "random": "random change",
    "vat": "VAT's change",
    "pgd": "PGD",
    "bias_field": "bias field",
    "low_resolution": "thick slices",
}
MISSING = [name for name in ARTEFACTS if name.startswith("no_")]
KEPT = ("kept under artefacts", "kept under attack")
Summary = Mapping[str, Any]


def draw_curves(summary: Summary) -> bytes:
    """Draws Dice against severity as a PNG: a panel a disturbance, a colour a region, a line style a checkpoint."""
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
    regions = [Line2D([], [], color=COLOURS[region], label=region) for region in REGIONS]
    styles = [
        Line2D([], [], color="0.3", ls=line, marker=marker, ms=4, label=name)
        for name, (line, marker) in zip(checkpoints, itertools.cycle(STYLES))
    ]
    # checkpoints that go by their paths need a line each
    across = len(REGIONS) + len(styles) if sum(map(len, checkpoints)) < 80 else 1
    figure.legend(handles=regions + styles, loc="outside lower center", ncols=across, frameon=False)
    figure.suptitle(f"Dice under disturbance, {summary['cases']} cases at the working resolution. Not for diagnosis.")
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()


def robustness_table(summary: Summary) -> str:
    """A table for the screen: mean Dice over the regions at each severity, and the relative Dice kept."""
    lines = []
    for name, found in summary["checkpoints"].items():
        clean = "  ".join(f"{region} {dice:.3f}" for region, dice in found["clean"].items())
        lines += [f"{name}: clean Dice  {clean}  (N = {summary['cases']}, working resolution)"]
        width = max((len(_title(curve)) for curve in found["curves"]), default=0)
        for curve, values in found["curves"].items():
            means = np.mean([values["dice"][region] for region in REGIONS], axis=0)
            steps = "  ".join(f"{s:g}: {dice:.3f}" for s, dice in zip(values["severity"], means))
            lines.append(f"  {_title(curve).rjust(width)}   {steps}")
        lines += [f"  mean relative Dice kept, {group}: {_kept(value)}" for group, value in found["kept"].items()]
    return "\n".join([*lines, NOT_FOR_DIAGNOSIS])


def robustness_section(folder: PathLike) -> Section | None:
    """Gives the report's section of a folder's robustness.json and .png; None where there is no such file."""
    path = Path(folder) / "robustness.json"
    if not path.is_file():
        return None
    summary = json.loads(path.read_text())
    png = base64.b64encode(path.with_suffix(".png").read_bytes()).decode()
    heads = ["checkpoint", *(f"clean Dice {r}" for r in REGIONS), *KEPT]
    rows = [
        [name, *(f"{found['clean'][region]:.3f}" for region in REGIONS), *map(_kept, found["kept"].values())]
        for name, found in summary["checkpoints"].items()
    ]
    differences = [[name, *map(_kept, f["against_first"].values())] for name, f in summary["checkpoints"].items()][1:]
    pairs = ["<h3>Difference to the first, paired by case</h3>", html_table(["checkpoint", *KEPT], differences)]
    details = [
        [name, _title(curve), f"{severity:g}", _size(summary, curve, severity)]
        + [f"{values['dice'][region][i]:.3f}" for region in REGIONS]
        for name, found in summary["checkpoints"].items()
        for curve, values in found["curves"].items()
        for i, severity in enumerate(values["severity"])
        if i
    ]
    html = "\n".join(
        [
            "<p>Mean relative Dice kept: mean Dice of disturbed images divided by that of clean ones, averaged over "
            "disturbances, severities and regions, with the 95 % bootstrap interval over "
            f"{summary['cases']} cases. Dice at the working resolution. Not for diagnosis.</p>",
            html_table(heads, rows),
            *(pairs if differences else []),
            f'<img alt="Dice against severity of each disturbance" style="max-width:100%" '
            f'src="data:image/png;base64,{png}">',
            "<details><summary>Dice of every disturbance</summary>",
            html_table(["checkpoint", "disturbance", "severity", "size", *REGIONS], details),
            "</details>",
        ]
    )
    return Section("Robustness", html)


def _draw_panel(axes: Axes, panel: Sequence[str], checkpoints: Mapping[str, Any]) -> None:
    missing = panel[0] in MISSING
    for index, found in enumerate(checkpoints.values()):
        line, marker = STYLES[index % len(STYLES)]
        curves = [found["curves"][name] for name in panel]
        for region, colour in COLOURS.items():
            # missing modalities share a panel and are no curve: points, below a line at the clean value
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
    axes.set_title("missing modality (line: none)" if missing else _title(panel[0]), fontsize=10)
    kind = "RMS of the change" if panel[0] in ATTACKS else "severity"
    axes.set_xlabel("missing" if missing else kind, fontsize=8)
    axes.set_ylim(0, 1)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _title(name: str) -> str:
    return TITLES.get(name, name.replace("_", " "))


def _size(summary: Summary, curve: str, severity: float) -> str:
    if curve in ATTACKS:
        return "RMS over brain voxels"
    size = summary["sizes"][curve]
    return size["unit"] if curve in MISSING else f"{size['levels'][int(severity) - 1]:g} {size['unit']}"


def _kept(value: Mapping[str, float | None] | None) -> str:
    if value is None:
        return "not run"
    mean, low, high = (value[key] for key in ("mean", "low", "high"))
    return f"{_number(mean)} ({_number(low)} to {_number(high)})"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
