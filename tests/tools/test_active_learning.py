# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from scripts.brats import Item
from scripts.data.phantoms import make_cohort
from scripts.tools.active_learning import choose
from tests.commands import run

BUNDLE = Path(__file__).parents[2]


def judged(confidence: float | None, entropy: float | None) -> dict[str, Any]:
    return {"mean_confidence": {"TC": None, "WT": confidence}, "mean_entropy": {"TC": None, "WT": entropy}}


def test_cases_are_chosen_by_their_score() -> None:
    metrics = {"a": judged(0.9, 0.3), "b": judged(0.2, 0.1), "c": judged(None, None), "d": judged(0.5, 0.4)}
    pool: list[Item] = [{"case": case, "patient": case, "layout": "brats2021", "image": []} for case in metrics]

    def chosen(choice: str, count: int) -> list[str]:
        return [item["case"] for item in choose(choice, pool, metrics, count=count, draw=0)]

    assert chosen("least confident", 4) == ["b", "d", "a", "c"]
    assert chosen("highest entropy", 2) == ["d", "a"]
    assert len(set(chosen("random", 3))) == 3
    assert chosen("random", 3) == chosen("random", 3)


@pytest.mark.slow  # runs the whole tool
def test_the_command_compares_the_ways_of_choosing(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "phantoms", cases=6, shape=(48, 48, 40))
    options = {"reviewed": 2, "draws": 1, "epochs": 2, "finetune_epochs": 1, "output_dir": tmp_path / "out"}
    words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    command = ["scripts.tools.active_learning", cohort, *words]
    result = run(*command)
    assert result.returncode == 0, result.stderr
    rows = list(csv.DictReader((tmp_path / "out" / "active_learning.csv").open()))
    assert [row["choice"] for row in rows] == ["none", "random", "least confident", "highest entropy"]
    assert [len(row["cases"].split()) for row in rows] == [0, 2, 2, 2]
    assert all(0 <= float(row["mean"]) <= 1 for row in rows)
    table = tmp_path / "out" / "active_learning.csv"
    table.write_text("a week of work")
    assert f"{table}: was not written by this program, or was changed since" in run(*command).stderr
    table.unlink()
    command[command.index("--reviewed") + 1] = "3"
    refused = run(*command)
    assert refused.returncode != 0
    assert "--reviewed 3: needs twice as many training cases, but there are 5" in refused.stderr
