# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from scripts.base.errors import BundleError
from scripts.data.datalist import read_datalist
from scripts.data.discovery import find_cases
from scripts.data.phantoms import make_cohort
from scripts.tools.evidence import cells as cells_module
from scripts.tools.evidence.arms import ARMS, SMALL, schedule
from scripts.tools.evidence.cells import Cell, make_cells
from scripts.tools.evidence.comparison import compare
from scripts.tools.evidence.labels import ARMS as LABEL_ARMS
from scripts.tools.evidence.labels import make_label_cells
from tests import commands

BUNDLE = Path(__file__).parents[2]
TINY = SMALL | {"spacing": 5.0, "patch_size": 16, "critic_features": 4, "epochs": 1}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_cohort(tmp_path_factory.mktemp("data") / "phantoms", cases=4, shape=(48, 48, 40))


def test_every_patient_is_validated_once_by_every_arm_and_seed(cohort: str, tmp_path: Path) -> None:
    cases = find_cases(cohort)
    cells = make_cells(cases, output_dir=tmp_path, arms=list(ARMS), seeds=2, folds=2)
    assert len(cells) == len({cell.folder for cell in cells}) == 2 * 2 * len(ARMS)
    for arm in ARMS:
        for seed in range(2):
            of_arm = [cell for cell in cells if (cell.arm, cell.seed) == (arm, seed)]
            sides = [read_datalist(str(cell.datalist)) for cell in of_arm]
            validated = [item["case"] for _, validation in sides for item in validation]
            assert sorted(validated) == sorted(item["case"] for item in cases)
    with pytest.raises(BundleError, match="--folds 5: allowed are 2 to 4"):
        make_cells(cases, output_dir=tmp_path, arms=list(ARMS), seeds=1, folds=5)


def test_all_arms_start_from_the_same_weights() -> None:
    weights = []
    for arm in ARMS.values():
        parser = ConfigParser()
        parser.read_config(BUNDLE / "configs/train.yaml")
        parser.update(SMALL | schedule(100) | arm | {"bundle_root": str(BUNDLE)})
        torch.manual_seed(0)
        network = parser.get_parsed_content("train#saved#network")
        weights.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    for other in weights[1:]:
        assert torch.equal(weights[0], other)


def test_a_cell_trains_evaluates_and_disturbs_and_is_not_run_again(
    cohort: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module.subprocess, "run", run_quickly)
    monkeypatch.setattr(cells_module, "DISTURBANCES", {"artefacts": ["gamma"], "severities": [2], "norms": [0.03]})
    arm = "Dice, VAT, critic of the correctness"
    cell, *_ = make_cells(find_cases(cohort), output_dir=tmp_path, arms=[arm], seeds=1, folds=2)
    assert not cell.is_done
    cell.run(TINY)
    assert cell.is_done
    for name in ("model.pt", "evaluated/per_case.csv", "evaluated/reliability.csv", "robustness/robustness.csv"):
        assert (cell.folder / name).exists()
    assert f"| {arm} | " in compare([cell])


def test_unlabelled_patients_are_the_others_and_their_labels_are_out_of_reach(
    cohort: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module.subprocess, "run", run_quickly)
    monkeypatch.setattr(cells_module, "DISTURBANCES", {"artefacts": ["gamma"], "severities": [2], "norms": []})
    cases = find_cases(cohort)
    cells = make_label_cells(cases, output_dir=tmp_path, labelled=2, seeds=2, folds=4)
    assert [(cell.seed, cell.arm) for cell in cells] == [(seed, arm) for seed in range(2) for arm in LABEL_ARMS]
    for cell in cells:
        labelled, validation = read_datalist(str(cell.datalist))
        others = find_cases(str(cell.folder.parent / "unlabelled"), labels="optional")
        assert ("unlabelled_dir" in cell.settings) == (cell.arm == LABEL_ARMS[-1])
        assert (len(labelled), len(others), len(validation)) == (2, 1, 1)
        assert not any("label" in item for item in others)
        assert len({item["case"] for item in [*labelled, *others, *validation]}) == len(cases)
    cells[-1].run(TINY | {"epochs": 2})
    assert cells[-1].is_done
    said = (cells[-1].folder / "training.log").read_text()
    assert "2/2" in said  # two cases of three, a step an epoch: as many epochs as with all
    with pytest.raises(BundleError, match="--labelled 3: allowed are 2 to 2"):
        make_label_cells(cases, output_dir=tmp_path, labelled=3, seeds=1, folds=4)


def test_a_cell_that_fails_says_why(cohort: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells_module.subprocess, "run", run_quickly)
    cell, *_ = make_cells(find_cases(cohort), output_dir=tmp_path, arms=["Dice"], seeds=1, folds=2)
    with pytest.raises(BundleError, match=r"`run training` of seed0_fold0_arm0 failed: .*patch_size is 17"):
        cell.run(TINY | {"patch_size": 17})


def run_quickly(command: Sequence[str], *, cwd: Path, stdout: Any, **_: Any) -> subprocess.CompletedProcess[str]:
    done = commands.run(*command[2:], cwd=cwd)
    stdout.write(done.stdout + done.stderr)
    return done


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
        write_cell(tmp_path, "Dice, VAT", 1, [0.2, 0.4]),
        write_cell(tmp_path, "Dice", 2, [0.9, 0.9]),  # no other arm yet
    ]
    lines = compare(cells).splitlines()
    assert lines[0].startswith("2 of 3 pairs")
    assert "| Dice | 0.4000 |  |" in lines
    # every patient gains 0.1, so that the interval has no width
    assert "| Dice, VAT | 0.5000 | +0.1000 (+0.1000 to +0.1000) |" in lines
    assert np.count_nonzero([line.startswith("| Dice, VAT |") for line in lines]) == 7
