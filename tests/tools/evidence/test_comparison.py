# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from scripts.tools.evidence.arms import NO_CRITIC
from scripts.tools.evidence.comparison import compare, run_differences
from tests.tools.evidence.written_cells import write_cell


def test_differences_are_paired_by_patient_and_have_an_error_over_runs(tmp_path: Path) -> None:
    cells = [
        write_cell(tmp_path, "Dice", 0, [0.5, 0.7]),
        write_cell(tmp_path, "Dice, VAT", 0, [0.6, 0.8]),
        write_cell(tmp_path, "Dice", 1, [0.1, 0.3]),
        write_cell(tmp_path, "Dice, VAT", 1, [0.1, 0.3]),
    ]
    lines = compare(cells).splitlines()
    assert lines[0].startswith("2 runs")
    assert "| Dice | 0.4000 | | | |" in lines
    # each patient gains 0.1 in one run and 0 in the other: no width over patients, an SE of 0.05, and one run above 0
    assert "| Dice, VAT | 0.4500 | +0.0500 (+0.0500 to +0.0500) | 0.0500 | 1 of 2 |" in lines
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
        assert rows == ["| critic | 0.7500 | 0.5000 | +0.2500 (+0.1500 to +0.3500) | 0.0500 | 2 of 2 |"]
    assert "AUROC" not in compare(cells[2:])


def test_a_run_without_a_shared_value_has_no_difference() -> None:
    some, none, other = {("a", "TC"): 0.75}, {("a", "TC"): float("nan")}, {("b", "TC"): 0.5}
    assert run_differences([some, some, some], [{("a", "TC"): 0.5}, none, other]) == [0.25]
