# SPDX-License-Identifier: Apache-2.0
"""The report: one HTML file with tables, plots, a list of the cases and a viewer."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import NdarrayOrTensor as Array
from monai.config import PathLike

from scripts.base.results import write_result
from scripts.brats import REGIONS, TISSUES
from scripts.evaluation.metrics.scoring_rules import SCORING_RULES
from scripts.evaluation.report.sections import Section
from scripts.evaluation.report.summary import Summary, describe_in_words, paper_table, summarise
from scripts.evaluation.report.tables import HD95_NOTE, METRIC_FORMATS, case_means, checked, left_out_lines
from scripts.evaluation.report.viewer import ViewerCase
from scripts.web.pages import render

TEMPLATE = Path(__file__).parent / "web" / "report.html"
# columns of the list of cases; per_case.csv has everything
_LISTED = {
    "lesion_dice": ("mean", *REGIONS),
    "matched_dice": ("mean", *REGIONS),
    "dice": ("mean", *REGIONS),
    "expected_dice": ("mean", *REGIONS),
    "hd95": ("mean", *REGIONS),
    "pooled_hd95": ("mean",),
    "volume_ml": ("WT",),
    "true_volume_ml": ("WT",),
    "volume_low_ml": ("WT",),
    "volume_high_ml": ("WT",),
}


@dataclass(frozen=True)
class Plot:
    """A picture of the report.

    Attributes:
        caption: what it shows, which is also its text for screen readers.
        png: content of a PNG file.
    """

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
    missing: Mapping[str, str] | None = None,
    facts: Mapping[str, str] | None = None,
    plots: Sequence[Plot] = (),
    viewer: Sequence[ViewerCase] = (),
    sections: Sequence[Section] = (),
) -> None:
    """Writes the report, one HTML file that needs no other file and no network.

    Args:
        path: path of the file; its folders are created.
        cases: ids of N cases.
        metrics: values (N, 3) of cases and regions by names of `report.tables.METRIC_FORMATS`.
        title: title of the report.
        scoring_rules: name of the scoring rules of the metrics, one of `SCORING_RULES`.
        summary: summary of the metrics, if it has already been computed.
        missing: what a case lacked, in words, by the ids of such cases.
        facts: further lines of the overview, such as the path of the weights.
        plots: pictures shown below the tables.
        viewer: cases of the interactive viewer, which is left out if there are none.
        sections: additional sections at the end.

    Raises:
        BundleError: if there are no metrics, shapes differ, or the file cannot be written.
    """
    arrays = checked(metrics)
    summary = summary or summarise(arrays)
    page = render(
        TEMPLATE,
        title=title,
        scoring_rules=SCORING_RULES[scoring_rules].description,
        cases=cases,
        facts=facts or {},
        tiles=_tiles(summary),
        paper_rows=paper_table(summary),
        summary_rows=_summary_rows(summary),
        left_out=left_out_lines(arrays),
        missing=missing or {},
        hd95_note=HD95_NOTE,
        columns=_columns(arrays),
        case_rows=_case_rows(cases, arrays),
        plots=plots,
        viewer=viewer,
        viewer_data={
            "cases": [case.settings for case in viewer],
            "tissues": {value: tissue._asdict() for value, tissue in TISSUES.items()},
        },
        viewed={case.settings["case"]: number for number, case in enumerate(viewer)},
        sections=sections,
    )
    write_result(path, page.encode())


def _tiles(summary: Summary) -> list[dict[str, str]]:
    name = "lesion_dice" if "lesion_dice" in summary else "dice"
    tiles = []
    for region in REGIONS if name in summary else ():
        mean, _, interval = describe_in_words(name, summary[name][region])
        tiles.append({"region": region, "mean": mean.split(" ")[0], "interval": interval})
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
    """Returns the groups of columns of the list of cases."""
    return [(METRIC_FORMATS[name].title, list(parts)) for name, parts in _LISTED.items() if name in arrays]


def _case_rows(cases: Sequence[str], arrays: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Returns the rows of the list of cases, worst first; a cell is the text to show and the number to sort by."""
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
