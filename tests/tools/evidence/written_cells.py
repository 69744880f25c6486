# SPDX-License-Identifier: Apache-2.0
"""Cells of the experiment whose results are given."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from scripts.tools.evidence.cells import Cell


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
