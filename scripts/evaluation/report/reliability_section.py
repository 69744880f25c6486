# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from monai.config import PathLike

from scripts.evaluation.reliability import UNCERTAINTIES, ZONE_TITLES, as_text
from scripts.evaluation.report.sections import Section, html_table

SCORES = {"auroc": "AUROC", "average_precision": "average precision"}


def reliability_section(folder: PathLike) -> Section | None:
    """Gives the report's section of a folder's `reliability.json`: verdict and tables; None where there is no such file."""
    path = Path(folder) / "reliability.json"
    if not path.is_file():
        return None
    summary = json.loads(path.read_text())
    heads = [
        "region",
        "N",
        "wrong voxels",
        *(f"{title}, {name}" for title in SCORES.values() for name in UNCERTAINTIES),
    ]
    tables = []
    for zone, regions in summary["zones"].items():
        rows = [
            [region, str(found["n"]), _percent(found["wrong_share"])]
            + [as_text(found[f"{score}_{name}"]) for score in SCORES for name in UNCERTAINTIES]
            for region, found in regions.items()
        ]
        title = ZONE_TITLES[zone]
        tables += [f"<h3>{title[0].upper()}{title[1:]}</h3>", html_table(heads, rows)]
    ranks = [
        (region, str(c["n"]), as_text(c["critic"]), as_text(c["entropy"]))
        for region, c in summary["correlation"].items()
    ]
    html = "\n".join(
        [
            "<p>Where the segmentation is wrong, is the critic unsure, and does it know better than the entropy of "
            "the segmenter's own probabilities? The share of wrong voxels is the average precision of chance.</p>",
            "<ul>",
            *(f"<li>{escape(line[0].upper() + line[1:])}</li>" for line in summary["verdict"]),
            "</ul>",
            *tables,
            "<h3>Over cases: Spearman's rank correlation with the true Dice</h3>",
            html_table(("region", "cases", "critic's mean confidence", "negative mean entropy"), ranks),
            "<p>Not for diagnosis.</p>",
        ]
    )
    return Section("Reliability of the critic", html)


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f} %"
