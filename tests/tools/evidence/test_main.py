# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
import time
from typing import cast

import pytest

from scripts.base.errors import BundleError
from scripts.tools.evidence.__main__ import run_cells
from scripts.tools.evidence.cells import Cell


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
