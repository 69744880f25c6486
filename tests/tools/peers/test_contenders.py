# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.data.datalist import write_datalist
from scripts.data.discovery import find_cases
from scripts.tools.evidence.arms import NO_CRITIC, NO_VAT
from scripts.tools.peers import contenders
from scripts.tools.peers.contenders import OWN_START, SEGRESNET, Contender
from tests.tools.conftest import TINY


@pytest.fixture(scope="module")
def datalist(cohort: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("list") / "list.json"
    cases = find_cases(cohort)
    write_datalist(str(path), cases[:2], cases[2:3])
    return path


@pytest.mark.slow  # runs the whole tool
def test_a_contender_trains_evaluates_and_says_what_it_cost(datalist: Path, tmp_path: Path, quickly: None) -> None:
    settings = {name: value for name, value in TINY.items() if name != "epochs"} | NO_VAT | NO_CRITIC | OWN_START
    contender = Contender(settings | {"cache_dir": tmp_path / "cache"}, SEGRESNET, windows=True)
    contender.run(datalist, tmp_path / "run", minutes=1e-6)
    cost = json.loads((tmp_path / "run" / "cost.json").read_text())
    assert cost["steps"] == 1  # of two patients in batches of two, one epoch
    assert cost["parameters_million"] == pytest.approx(4.70, abs=0.005)  # printed digits
    assert cost["case_seconds"] > 0
    assert (tmp_path / "run" / "evaluated" / "per_case.csv").exists()


def test_the_time_is_filled_with_epochs(datalist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    trained: list[dict[str, Any]] = []

    def run(name: str, configs: list[str], settings: dict[str, Any], *, log: Path, threads: int) -> None:
        if name == "training":
            trained.append(settings)
            clock[0] += 20 + 2 * settings["epochs"]  # 20 s of imports, 2 s an epoch

    monkeypatch.setattr(contenders, "run_command", run)
    monkeypatch.setattr(contenders.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(Contender, "_cost_of_a_case", lambda *_: {})
    Contender().run(datalist, tmp_path, minutes=10)
    assert [settings["epochs"] for settings in trained] == [1, 1, 4, 300]
    assert trained[2]["vat_start"] == trained[2]["critic_start"] == 0
    assert (trained[3]["vat_start"], trained[3]["critic_start"]) == (60, 240)
    assert json.loads((tmp_path / "cost.json").read_text()) == {"minutes": 620 / 60, "steps": 300}
