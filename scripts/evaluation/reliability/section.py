# SPDX-License-Identifier: Apache-2.0
"""The report's section on the reliability of the critic."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monai.config import PathLike

from scripts.evaluation.reliability.summary import SCORES, UNCERTAINTIES, ZONE_TITLES, as_text, difference_as_text
from scripts.evaluation.report.sections import Section
from scripts.web.pages import render

TEMPLATE = Path(__file__).parent / "web" / "reliability.html"


def reliability_section(folder: PathLike) -> Section | None:
    """Returns the section for the `reliability.json` and `.png` of a folder, or None if there are no such files."""
    path = Path(folder) / "reliability.json"
    if not path.is_file():
        return None
    summary = json.loads(path.read_text())
    headings = ["region", "N", "wrong"]
    headings += [f"{title}, {name}" for title in SCORES.values() for name in (*UNCERTAINTIES, "difference")]
    zones = {
        ZONE_TITLES[zone]: [
            [region, means["n"], _percent(means["wrong_share"]), *itertools.chain(*(_scores(means, s) for s in SCORES))]
            for region, means in regions.items()
        ]
        for zone, regions in summary["zones"].items()
    }
    correlations = [
        [region, found["n"], as_text(found["critic"]), as_text(found["entropy"])]
        for region, found in summary["correlation"].items()
    ]
    expected = [
        [region, found["n"]]
        + [as_text(found[f"{what}_{u}"]) for what in ("correlation", "error") for u in UNCERTAINTIES]
        for region, found in summary["expected_dice"].items()
    ]
    bins = {
        ZONE_TITLES[zone]: [
            [_percent(b["confidence"]), _percent(b["right"]), round(b["voxels"])] for b in found["bins"]
        ]
        for zone, found in summary["calibration"].items()
    }
    islands = [
        [f"{found['at_least_ml']} ml", *(f"{found[f'{name}_doubted']} of {found[name]}" for name in ("false", "true"))]
        for found in summary["islands"]
    ]
    html = render(
        TEMPLATE,
        verdict=summary["verdict"],
        headings=headings,
        zones=zones,
        correlations=correlations,
        expected=expected,
        interval=summary["volume_interval"],
        islands=islands,
        picture=base64.b64encode(path.with_suffix(".png").read_bytes()).decode(),
        bins=bins,
    )
    return Section("Reliability of the critic", html)


def _scores(means: Mapping[str, Any], score: str) -> list[str]:
    values = [as_text(means[f"{score}_{uncertainty}"]) for uncertainty in UNCERTAINTIES]
    return [*values, difference_as_text(means[f"{score}_difference"])]


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"
