# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import cast

import pytest

from scripts.base.errors import BundleError
from scripts.data.datalist import read_datalist
from scripts.data.discovery import find_cases
from scripts.tools.evidence import cells as cells_module
from scripts.tools.evidence.arms import ARMS
from scripts.tools.evidence.cells import Cell, make_cells, run_cells
from scripts.tools.evidence.comparison import compare
from tests.tools.conftest import TINY


def test_every_patient_is_validated_once_by_every_arm_and_seed(cohort: str, tmp_path: Path) -> None:
    cases = find_cases(cohort)
    cells = make_cells(cases, output_dir=tmp_path, arms=ARMS, seeds=2, folds=2)
    assert len(cells) == len({cell.folder for cell in cells}) == 2 * 2 * len(ARMS)
    for arm in ARMS:
        for seed in range(2):
            of_arm = [cell for cell in cells if (cell.arm, cell.seed) == (arm, seed)]
            sides = [read_datalist(str(cell.datalist)) for cell in of_arm]
            validated = [item["case"] for _, validation in sides for item in validation]
            assert sorted(validated) == sorted(item["case"] for item in cases)
    with pytest.raises(BundleError, match="--folds 5: allowed are 2 to 4"):
        make_cells(cases, output_dir=tmp_path, arms=ARMS, seeds=1, folds=5)


def test_a_cell_trains_evaluates_and_disturbs_and_is_not_run_again(
    cohort: str, tmp_path: Path, quickly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module, "DISTURBANCES", {"artefacts": ["gamma"], "severities": [2], "norms": [0.03]})
    arm = "Dice, VAT, critic of the correctness"
    cell, *_ = make_cells(find_cases(cohort), output_dir=tmp_path, arms={arm: ARMS[arm]}, seeds=1, folds=2)
    assert not cell.is_done
    cell.run(TINY)
    assert cell.is_done
    for name in ("model.pt", "evaluated/per_case.csv", "evaluated/reliability.csv", "robustness/robustness.csv"):
        assert (cell.folder / name).exists()
    assert f"| {arm} | " in compare([cell])


def test_a_cell_that_fails_says_why(cohort: str, tmp_path: Path, quickly: None) -> None:
    cell, *_ = make_cells(find_cases(cohort), output_dir=tmp_path, arms={"Dice": ARMS["Dice"]}, seeds=1, folds=2)
    with pytest.raises(BundleError, match=r"`run training` failed: .*patch_size is 17.*seed0_fold0_Dice"):
        cell.run(TINY | {"patch_size": 17})


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
