# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import cast

import pytest

from scripts.base.errors import BundleError
from scripts.brats import NOT_FOR_DIAGNOSIS
from scripts.tools.evidence.__main__ import run_cells, to_markdown
from scripts.tools.evidence.arms import ARMS, LEVERS
from scripts.tools.evidence.cells import Cell
from tests.tools.evidence.written_cells import write_cell


class Meeting:
    """Stands for a cell; `run` returns when so many of them run at a time."""

    def __init__(self, barrier: threading.Barrier) -> None:
        self.barrier = barrier

    def run(self, settings: dict[str, object]) -> None:
        self.barrier.wait(timeout=60)


class Failing:
    """Stands for a cell whose command fails."""

    begun = 0

    def run(self, settings: dict[str, object]) -> None:
        Failing.begun += 1
        time.sleep(0.01)
        raise BundleError("the command failed")


def test_as_many_cells_run_at_a_time_as_there_are_jobs() -> None:
    barrier = threading.Barrier(2)
    run_cells([cast(Cell, Meeting(barrier)) for _ in range(4)], {}, jobs=2)


def test_after_a_failure_no_cell_is_begun() -> None:
    with pytest.raises(BundleError, match="the command failed"):
        run_cells([cast(Cell, Failing()) for _ in range(1000)], {}, jobs=1)
    assert Failing.begun < 1000


def test_each_experiment_has_its_tables(tmp_path: Path) -> None:
    parts = [write_cell(tmp_path, arm, 0, [0.1, 0.3]) for arm in ARMS]
    levers = [write_cell(tmp_path, arm, 0, [0.1, 0.3]) for arm in LEVERS]
    tables = to_markdown(parts, levers, {4: parts[:1], 26: parts[:1]})
    titles = [line for line in tables.splitlines() if line.startswith("### ")]
    assert [title.removeprefix("### ") for title in titles] == [
        "What each part is worth",
        "VAT against its controls",
        "What each lever of variety is worth",
        "4 labelled patients",
        "26 labelled patients",
    ]
    controls = tables.split("### ")[2]
    assert "| Dice | mean | minus Dice, VAT (95 %) |" in controls
    assert NOT_FOR_DIAGNOSIS in tables
