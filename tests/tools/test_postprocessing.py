# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from scripts.base.settings_check import names_in
from scripts.brats import REGIONS
from scripts.tools import postprocessing
from scripts.tools.paired import Values
from scripts.tools.postprocessing import CHOICES, PLAIN, compare, evaluate


def table(*dice: float) -> dict[str, Values]:
    """Returns the values of an evaluation in which all regions of a case are alike; HD95 is ten times Dice."""
    values = {(f"case{i}", region): value for i, value in enumerate(dice) for region in REGIONS}
    return {"dice": values, "hd95": {key: 10 * value for key, value in values.items()}}


def test_choices_are_compared_with_the_plain_threshold() -> None:
    lines = compare({PLAIN: table(0.5, 0.7), "another": table(0.6, 0.8)}).splitlines()
    assert lines[2] == f"| {PLAIN} | 0.600 / 0.600 / 0.600 | 6.0 / 6.0 / 6.0 | |"
    assert lines[3] == "| another | 0.700 / 0.700 / 0.700 | 7.0 / 7.0 / 7.0 | +0.1000 (+0.1000 to +0.1000) |"


def test_no_patient_takes_part_in_its_own_choice() -> None:
    # a choice that is best for one patient only: this one does not get it, and the others, who do, lose by it
    text = compare({PLAIN: table(0.5, 0.5, 0.5), "another": table(0.2, 0.2, 1.4)})
    assert "mean Dice 0.3000, -0.2000" in text


def test_a_choice_is_evaluated_once_with_its_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs: list[dict[str, Any]] = []

    def run(name: str, configs: list[str], settings: dict[str, Any], *, log: Path) -> None:
        runs.append(settings)
        Path(settings["output_dir"]).mkdir()
        (Path(settings["output_dir"]) / "per_case.csv").touch()

    monkeypatch.setattr(postprocessing, "run_command", run)
    for _ in range(2):
        evaluate({"min_enhancing": 50}, split=tmp_path / "list.json", folder=tmp_path / "choice")
    assert runs == [
        {"min_enhancing": 50, "split": tmp_path / "list.json", "output_dir": tmp_path / "choice", "html": False}
    ]


def test_every_choice_is_a_setting_of_inference() -> None:
    assert {name for choice in CHOICES.values() for name in choice} <= set(names_in("inference.yaml"))
