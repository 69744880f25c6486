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
    """Writes the files of a cell of two patients; every measure has the value of Dice, the entropy's AUROC is 0.5."""
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
                writer.writerows(
                    [f"patient{i}", "TC", artefact, *(0.5 if key.endswith("entropy") else value for key in keys)]
                    for i, value in enumerate(dice)
                )
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
    assert np.count_nonzero([line.startswith("| Dice, VAT |") for line in lines]) == 5 + 2  # measures, zones


def test_critics_are_compared_with_the_entropy_and_only_where_one_is_trained(tmp_path: Path) -> None:
    cells = [
        write_cell(tmp_path, "critic", 0, [0.6, 0.8]),
        write_cell(tmp_path, "critic", 1, [0.7, 0.9]),
        *(replace(write_cell(tmp_path, "none", seed, [0.1, 0.2]), settings=NO_CRITIC) for seed in (0, 1)),
    ]
    zones = compare(cells).split("| AUROC ")[1:]
    assert [zone.split(" |")[0] for zone in zones] == ["near the surface", "in the neighbourhood"]
    for zone in zones:
        _, _, *rows = zone.strip().splitlines()
        assert rows == ["| critic | 0.7500 | 0.5000 | +0.2500 (+0.1500 to +0.3500) | 0.0707 |"]
    assert "AUROC" not in compare(cells[2:])
