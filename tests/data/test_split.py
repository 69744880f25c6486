# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.data.cohort import Cohort
from scripts.data.datalist import read_datalist
from scripts.data.split import main
from tests import commands
from tests.data.test_checks import cut
from tests.data.test_cohort import make_cohort
from tests.data.test_discovery import make_msd


def run_command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run("scripts.data.split", *arguments)


def make_flawed(folder: Path) -> None:
    """Writes four cases, one of which, not held out, is broken, and one of MSD."""
    make_cohort(folder, 4)
    make_msd(folder / "Task01_BrainTumour")
    cut(Cohort(str(folder)).training_cases()[1]["label"], 0.5)


def test_the_command_writes_a_data_list(tmp_path: Path) -> None:
    make_flawed(tmp_path / "data")
    done = run_command(str(tmp_path / "data"), "--output", str(tmp_path / "out.json"), "--skip_invalid")
    assert done.returncode == 0, done.stderr
    assert "4 cases of 4 patients: brats2021 3, msd 1" in done.stdout
    assert "training 3, held out 1, left out 1" in done.stdout
    cohort = Cohort(str(tmp_path / "data"), skip_invalid=True)
    assert read_datalist(str(tmp_path / "out.json")) == (cohort.training_cases(), cohort.held_out_cases())
    assert [f"left out case {case}: " in done.stderr for case in cohort.problems] == [True]


def test_the_command_refuses_broken_cases(tmp_path: Path) -> None:
    make_flawed(tmp_path / "data")
    done = run_command(str(tmp_path / "data"), "--output", str(tmp_path / "out.json"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: 1 of 5 cases cannot be used")
    assert "_seg.nii.gz: cannot be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.json").exists()


def test_a_persons_own_list_is_refused_before_cases_are_read(tmp_path: Path) -> None:
    make_flawed(tmp_path / "data")
    (tmp_path / "out.json").write_text("a week of work")
    done = run_command(str(tmp_path / "data"), "--output", str(tmp_path / "out.json"))
    assert done.stderr.startswith(f"error: {tmp_path / 'out.json'}: was not written by this program")
    assert (tmp_path / "out.json").read_text() == "a week of work"


def test_the_command_takes_the_switch_as_configs_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_flawed(tmp_path / "data")
    arguments = [str(tmp_path / "data"), "--output", str(tmp_path / "out.json"), "--held_out_fraction", "0.5"]
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # which main() sets
    monkeypatch.setattr(sys, "argv", ["split", *arguments, "--seed", "1", "--skip_invalid", "true"])
    main()
    cohort = Cohort(str(tmp_path / "data"), held_out_fraction=0.5, seed=1, skip_invalid=True)
    assert read_datalist(str(tmp_path / "out.json")) == (cohort.training_cases(), cohort.held_out_cases())
    monkeypatch.setattr(sys, "argv", ["split", *arguments, "--skip_invalid", "false"])
    with pytest.raises(BundleError, match="1 of 5 cases"):
        main()
