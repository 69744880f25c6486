# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.base.errors import BundleError
from scripts.data.cohort import Cohort
from scripts.data.datalist import read_datalist
from scripts.data.split import main
from tests import commands
from tests.data.test_checks import cut, make_case
from tests.data.test_cohort import make_cohort
from tests.data.test_discovery import make_msd

DOCS = Path(__file__).parents[2] / "docs"


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


def test_the_command_splits_by_names_over_several_folders(tmp_path: Path) -> None:
    cases = [item["case"] for item in make_cohort(tmp_path / "one", 3)]
    make_case(tmp_path / "two", "Brats18_A")
    names = tmp_path / "names.json"
    names.write_text(json.dumps({"training": ["Brats18_A", cases[2]], "validation": [cases[0]]}))
    folders, out = [str(tmp_path / folder) for folder in ("one", "two")], str(tmp_path / "lists" / "out.json")
    done = run_command(*folders, "--names", str(names), "--output", out)
    assert done.returncode == 0, done.stderr
    assert "training 2, held out 1, left out 0" in done.stdout
    training, validation = read_datalist(out)
    assert [item["case"] for item in training] == ["Brats18_A", cases[2]]
    assert [item["case"] for item in validation] == [cases[0]]
    assert Path(training[0]["image"][0]).is_file()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"training": ["a"], "validation": ["BraTS2021_00000"]}, "1 of its cases, such as a, are not in"),
        ({"training": ["BraTS2021_00000"]}, "cannot be read as lists training and validation"),
        ({"training": ["BraTS2021_00000"], "validation": []}, "must each name cases"),
        ({"training": ["BraTS2021_00000"], "validation": ["BraTS2021_00000"]}, "none twice"),
        ([], "cannot be read as lists"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(content: Any, expected: str, tmp_path: Path) -> None:
    make_cohort(tmp_path / "data", 2)
    (tmp_path / "names.json").write_text(json.dumps(content))
    with pytest.raises(BundleError, match=expected):
        Cohort(str(tmp_path / "data"), names=str(tmp_path / "names.json")).training_cases()


def test_a_case_in_two_folders_is_refused(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        make_cohort(tmp_path / folder, 2)
    names = {"training": ["BraTS2021_00000"], "validation": ["BraTS2021_00001"]}
    (tmp_path / "names.json").write_text(json.dumps(names))
    folders = [str(tmp_path / folder) for folder in ("one", "two")]
    with pytest.raises(BundleError, match="case BraTS2021_00000 is in two of"):
        Cohort(folders, names=str(tmp_path / "names.json")).training_cases()


def test_the_committed_splits_hold_the_8_out_and_split_the_others_again() -> None:
    whole, inner = (json.loads((DOCS / name).read_text()) for name in ("split.json", "inner_split.json"))
    assert [len(split[side]) for split in (whole, inner) for side in ("training", "validation")] == [39, 8, 31, 8]
    assert not {*whole["training"]} & {*whole["validation"]}
    assert sorted(inner["training"] + inner["validation"]) == whole["training"]
