# SPDX-License-Identifier: Apache-2.0
"""The robustness summary as a table on the screen and as a section of the report."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from monai.config import PathLike

from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS
from scripts.evaluation.report.sections import Section
from scripts.evaluation.robustness.attacks import ATTACKS
from scripts.evaluation.robustness.plots import MISSING, Summary, title_of
from scripts.web.pages import render

TEMPLATE = Path(__file__).parent / "web" / "robustness.html"
KEPT = ["kept under artefacts", "kept under attack"]


def robustness_table(summary: Summary) -> str:
    """Returns a text table: mean Dice over the regions at each severity, and the relative Dice kept."""
    lines = []
    for name, found in summary["checkpoints"].items():
        clean = "  ".join(f"{region} {dice:.3f}" for region, dice in found["clean"].items())
        lines += [f"{name}: clean Dice  {clean}  (N = {summary['cases']}, working resolution)"]
        width = max((len(title_of(curve)) for curve in found["curves"]), default=0)
        for curve, values in found["curves"].items():
            means = np.mean([values["dice"][region] for region in REGIONS], axis=0)
            steps = "  ".join(f"{s:g}: {dice:.3f}" for s, dice in zip(values["severity"], means))
            lines.append(f"  {title_of(curve).rjust(width)}   {steps}")
        lines += [f"  mean relative Dice kept, {group}: {_interval(value)}" for group, value in found["kept"].items()]
    return "\n".join([*lines, NOT_FOR_DIAGNOSIS])


def robustness_section(folder: PathLike) -> Section | None:
    """Returns the section for the `robustness.json` and `.png` of a folder, or None if there are no such files."""
    path = Path(folder) / "robustness.json"
    if not path.is_file():
        return None
    summary = json.loads(path.read_text())
    checkpoints = summary["checkpoints"].items()
    clean = [
        [name, *(f"{found['clean'][region]:.3f}" for region in REGIONS), *map(_interval, found["kept"].values())]
        for name, found in checkpoints
    ]
    differences = [[name, *map(_interval, found["against_first"].values())] for name, found in checkpoints]
    details = [
        [name, title_of(curve), f"{severity:g}", _size(summary, curve, severity)]
        + [f"{values['dice'][region][index]:.3f}" for region in REGIONS]
        for name, found in checkpoints
        for curve, values in found["curves"].items()
        for index, severity in enumerate(values["severity"])
        if severity
    ]
    html = render(
        TEMPLATE,
        cases=summary["cases"],
        clean_headings=["checkpoint", *(f"clean Dice {region}" for region in REGIONS), *KEPT],
        clean=clean,
        difference_headings=["checkpoint", *KEPT],
        differences=differences[1:],
        picture=base64.b64encode(path.with_suffix(".png").read_bytes()).decode(),
        detail_headings=["checkpoint", "disturbance", "severity", "size", *REGIONS],
        details=details,
    )
    return Section("Robustness", html)


def _size(summary: Summary, curve: str, severity: float) -> str:
    if curve in ATTACKS:
        return "RMS over brain voxels"
    size = summary["sizes"][curve]
    return size["unit"] if curve in MISSING else f"{size['levels'][int(severity) - 1]:g} {size['unit']}"


def _interval(value: Mapping[str, float | None] | None) -> str:
    if value is None:
        return "not run"
    mean, low, high = ("n/a" if value[key] is None else f"{value[key]:.3f}" for key in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"
