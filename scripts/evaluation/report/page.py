# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from monai.config import NdarrayOrTensor as Array
from monai.config import PathLike

from scripts.base.atomic_files import write_atomically
from scripts.brats import NOT_FOR_DIAGNOSIS, REGION_NAMES, REGIONS, TISSUES
from scripts.evaluation.report.sections import Section
from scripts.evaluation.report.summary import Summary, describe_in_words, paper_table, summarise
from scripts.evaluation.report.tables import METRIC_FORMATS, case_means, checked, left_out_lines
from scripts.evaluation.report.viewer import ViewerCase
from scripts.web import WEB as SHARED_WEB

WEB = Path(__file__).parent / "web"
RULES_IN_WORDS = {
    "brats2021": "BraTS 2021. A region that only one of prediction and truth has scores Dice 0 and HD95 373.13 mm; "
    "one that neither has scores Dice 1 and HD95 0. No case is skipped.",
    "brats2023": "BraTS 2023, lesion by lesion. A missed or an invented lesion scores Dice 0 and HD95 374 mm. The "
    "plain metrics stand beside.",
    "monai": "MONAI. A region that prediction or truth lacks has no value and is left out of the means, so that "
    "misses and inventions do not count. For comparison only.",
}
# what the list of cases shows, by metric; per_case.csv has everything
_LISTED = {
    "lesion_dice": ("mean", *REGIONS),
    "dice": ("mean", *REGIONS),
    "hd95": ("mean", *REGIONS),
    "volume_ml": ("WT",),
    "true_volume_ml": ("WT",),
}


@dataclass(frozen=True)
class Plot:
    """A picture of a report: what it shows, for all who see it or have it read to them, and a PNG file."""

    caption: str
    png: bytes

    @property
    def source(self) -> str:
        """The picture as a data URL."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


def write_report(
    path: PathLike,
    cases: Sequence[str],
    metrics: Mapping[str, Array],
    *,
    title: str,
    scoring_rules: str = "brats2021",
    summary: Summary | None = None,
    facts: Mapping[str, str] | None = None,
    plots: Sequence[Plot] = (),
    viewer: Sequence[ViewerCase] = (),
    sections: Sequence[Section] = (),
) -> None:
    """Writes `report.html`: one file that needs no other and no network.

    Args:
        path: of the file; folders are made.
        cases: ids of N cases.
        metrics: (N, 3) of cases and regions, by names of `report.tables.METRIC_FORMATS`.
        title: of the report.
        scoring_rules: after which the metrics were counted.
        summary: of the metrics, if it is at hand.
        facts: further lines of the overview, such as where the weights lie.
        plots: shown below the tables.
        viewer: cases for the interactive viewer, which is left out where there are none.
        sections: further ones, at the end.

    Raises:
        BundleError: if there are no metrics, shapes differ, or the file cannot be written.
    """
    arrays = checked(metrics)
    summary = summary or summarise(arrays)
    environment = Environment(
        loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # regions in their order
    page = environment.get_template("report.html").render(
        title=title,
        note=NOT_FOR_DIAGNOSIS,
        scoring_rules=RULES_IN_WORDS.get(scoring_rules, scoring_rules),
        cases=cases,
        facts=facts or {},
        tiles=_tiles(summary),
        paper_rows=paper_table(summary),
        summary_rows=_summary_rows(summary),
        left_out=left_out_lines(arrays),
        columns=_columns(arrays),
        case_rows=_case_rows(cases, arrays),
        plots=plots,
        viewer=viewer,
        viewer_data={
            "cases": [case.settings for case in viewer],
            "colours": {value: tissue.colour for value, tissue in TISSUES.items()},
        },
        viewed={case.settings["case"]: number for number, case in enumerate(viewer)},
        labels={tissue.name: tissue.colour for tissue in TISSUES.values()},
        regions=REGION_NAMES,
        sections=[Section(section.title, Markup(section.html)) for section in sections],
        asset=lambda name: Markup(_find_asset(name).read_text(encoding="utf-8")),
    )
    write_atomically(path, page.encode())


def _find_asset(name: str) -> Path:
    return WEB / name if (WEB / name).is_file() else SHARED_WEB / name


def _tiles(summary: Summary) -> list[dict[str, str]]:
    name = "lesion_dice" if "lesion_dice" in summary else "dice"
    tiles = []
    for region in REGIONS if name in summary else ():
        mean, _, interval = describe_in_words(name, summary[name][region])
        tiles.append({"region": region, "name": REGION_NAMES[region], "mean": mean.split(" ")[0], "interval": interval})
    return [tile | {"metric": METRIC_FORMATS[name].heading} for tile in tiles]


def _summary_rows(summary: Summary) -> list[dict[str, Any]]:
    return [
        {
            "title": METRIC_FORMATS[name].title,
            "cells": [describe_in_words(name, by_region[r]) if r in by_region else None for r in (*REGIONS, "mean")],
        }
        for name, by_region in summary.items()
    ]


def _columns(arrays: Mapping[str, np.ndarray]) -> list[tuple[str, list[str]]]:
    """Groups of columns of the list of cases."""
    return [(METRIC_FORMATS[name].title, list(parts)) for name, parts in _LISTED.items() if name in arrays]


def _case_rows(cases: Sequence[str], arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Rows of the list of cases, worst first; each cell has the text to show and the number to sort by."""
    names = [name for name in _LISTED if name in arrays]
    rows = []
    for index, case in enumerate(cases):
        cells = []
        for name in names:
            values = arrays[name][index]
            known = dict(zip(REGIONS, values)) | {"mean": case_means(values[None])[0]}
            decimals = 1 if METRIC_FORMATS[name].unit else 3
            shown = [float(known[part]) for part in _LISTED[name]]
            cells += [("n/a", None) if np.isnan(value) else (f"{value:.{decimals}f}", value) for value in shown]
        rows.append({"case": case, "cells": cells})
    first = (lambda row: np.inf if row["cells"][0][1] is None else row["cells"][0][1]) if names else lambda row: 0.0
    return sorted(rows, key=first)
