# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from scripts.brats import NOT_FOR_DIAGNOSIS
from scripts.tools.evidence.__main__ import to_markdown
from scripts.tools.evidence.arms import ARMS, LEVERS
from tests.tools.evidence.written_cells import write_cell


def test_each_experiment_has_its_tables(tmp_path: Path) -> None:
    parts = [write_cell(tmp_path, arm, 0, [0.1, 0.3]) for arm in ARMS]
    levers = [write_cell(tmp_path, arm, 0, [0.1, 0.3]) for arm in LEVERS]
    tables = to_markdown(parts, levers, {4: parts[:1], 26: parts[:1]})
    titles = [line for line in tables.splitlines() if line.startswith("### ")]
    assert [title.removeprefix("### ") for title in titles] == [
        "What each part is worth",
        "VAT against its controls",
        "What each lever is worth",
        "What dropping modalities costs where none is missing",
        "4 labelled patients",
        "26 labelled patients",
    ]
    controls = tables.split("### ")[2]
    assert "| Dice | mean | minus Dice, VAT (95 %) |" in controls
    assert "| modalities dropped | 0.2000 | +0.0000 (+0.0000 to +0.0000) |" in tables.split("### ")[4]
    assert "more patches" not in tables.split("### ")[4]
    assert NOT_FOR_DIAGNOSIS in tables
