# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scripts.tools.evidence.arms import NO_CRITIC
from scripts.tools.evidence.cells import Cell
from scripts.tools.evidence.comparison import compare


def write_cell(folder: Path, arm: str, seed: int, dice: Sequence[float]) -> Cell:
    """Writes the files of a cell of two patients; every measure has the value of Dice."""
    cell = Cell(arm, {}, seed, 0, folder / f"{arm}-{seed}", folder / "list.json", 4, 4)
    for name, keys in {
        "evaluated/per_case.csv": ["dice", "hd95", "calibration_error"],
        "evaluated/reliability.csv": [
            f"{z}_auroc_{u}" for z in ("boundary", "neighbourhood") for u in ("critic", "entropy")
        ],
        "robustness/robustness.csv": ["dice"],
    }.items():
        (cell.folder / name).parent.mkdir(parents=True, exist_ok=True)
        with open(cell.folder / name, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["case", "region", "artefact", *keys])
            for artefact in ("noise", "pgd"):
                writer.writerows([f"patient{i}", "TC", artefact, *[value] * len(keys)] for i, value in enumerate(dice))
    return cell


def test_differences_are_paired_by_patient_over_the_runs_that_all_arms_have(tmp_path: Path) -> None:
    cells = [
        write_cell(tmp_path, "Dice", 0, [0.5, 0.7]),
        write_cell(tmp_path, "Dice, VAT", 0, [0.6, 0.8]),
        write_cell(tmp_path, "Dice", 1, [0.1, 0.3]),
        write_cell(tmp_path, "Dice, VAT", 1, [0.1, 0.3]),
        write_cell(tmp_path, "Dice", 2, [0.9, 0.9]),  # no other arm yet
    ]
    lines = compare(cells).splitlines()
    assert lines[0].startswith("2 of 3 pairs")
    assert "| Dice | 0.4000 | | |" in lines
    # each patient gains 0.1 in one run and 0 in the other: no width over patients, and a spread of 0.1 / sqrt(2)
    assert "| Dice, VAT | 0.4500 | +0.0500 (+0.0500 to +0.0500) | 0.0707 |" in lines
    assert np.count_nonzero([line.startswith("| Dice, VAT |") for line in lines]) == 7


def test_measures_of_critics_are_left_out_where_no_arm_trains_one(tmp_path: Path) -> None:
    cell = write_cell(tmp_path, "Dice", 0, [0.5, 0.7])
    assert "AUROC" in compare([cell])
    assert "AUROC" not in compare([replace(cell, settings=NO_CRITIC)])
