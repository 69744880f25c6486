# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from scripts.data.phantoms import make_cohort
from scripts.evaluation.report.training_curves import read_curves
from tests.test_workflows import SMALL, TRAIN, run_bundle
from tests.training.resume.test_run_state import equal

EPOCHS = 40  # more than 24 runs can come through before they are killed
PHASES = ("training", "validation", "writing")


class Run:
    """A training of moments with both adversaries, in a folder of its own."""

    def __init__(self, folder: Path, *, dataset_dir: Path, epochs: int) -> None:
        self.folder = folder
        places = {"output_dir": folder, "ckpt_dir": folder / "models", "cache_dir": folder.parent / "cache"}
        begins = {"vat_start": 2, "critic_start": 5, "critic_ramp": 3}
        self.settings: dict[str, Any] = {"dataset_dir": dataset_dir, "epochs": epochs, "val_interval": 1}
        self.settings |= {**places, **begins, **SMALL}

    def start(self, **executioner: Any) -> subprocess.CompletedProcess[str]:
        """Starts or resumes it; with the executioner's arguments it may not come to its end."""
        handler = {"_target_": "tests.executioner.Executioner", "validator": "@validate#evaluator", **executioner}
        overlay = self.folder.with_suffix(".yaml")
        overlay.write_text(yaml.safe_dump({"+train#handlers": [handler]} if executioner else {}))
        return run_bundle("training", f"['{TRAIN}','{overlay}']", resume="auto", **self.settings)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make_cohort(tmp_path_factory.mktemp("data") / "phantoms", cases=8, shape=(48, 48, 40)))


@pytest.fixture(scope="module")
def whole(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of three epochs that nothing disturbed."""
    run = Run(tmp_path_factory.mktemp("runs") / "whole", dataset_dir=phantoms, epochs=3)
    assert run.start().returncode == 0
    return run.folder


def assert_the_same(one: Path, other: Path) -> None:
    """Compares all that two runs leave: states, weights, table, and what was logged."""
    states = [sorted(folder.glob("state_iteration=*.pt"))[-1] for folder in (one, other)]
    assert states[0].name == states[1].name
    first, second = (torch.load(state, weights_only=True) for state in states)
    assert first.keys() == {
        "network",
        "critic",
        "optimizer",
        "critic_optimizer",
        "lr_scheduler",
        "average",
        "run_state",
    }
    for name in first:
        assert equal(first[name], second[name]), name
    for name in ("models/model.pt", "models/critic.pt", "per_case.csv", "summary.md"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    logged, expected = (read_curves(str(folder / "tensorboard")) for folder in (one, other))
    assert logged.keys() == expected.keys()
    for tag, curve in expected.items():
        assert all(np.array_equal(*columns) for columns in zip(logged[tag], curve)), tag
    assert not list(one.rglob(".unfinished-*"))


def test_a_run_killed_at_three_moments_ends_as_one_that_was_not(phantoms: Path, whole: Path, tmp_path: Path) -> None:
    killed = Run(tmp_path / "killed", dataset_dir=phantoms, epochs=3)
    record = str(tmp_path / "record.txt")
    for phase, count in (("training", 4), ("validation", 1), ("writing", 2)):
        result = killed.start(phase=phase, count=count, delay=0.01, record=record)
        assert result.returncode == -signal.SIGKILL, result.stderr
    assert killed.start().returncode == 0
    assert Path(record).read_text().split() == [*PHASES]
    assert_the_same(killed.folder, whole)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_asked_to_stop_saves_and_can_go_on(
    number: signal.Signals, phantoms: Path, whole: Path, tmp_path: Path
) -> None:
    stopped = Run(tmp_path / "stopped", dataset_dir=phantoms, epochs=3)
    record = str(tmp_path / "record.txt")
    result = stopped.start(phase="training", count=5, delay=0.0, record=record, number=int(number))
    assert result.returncode == 128 + number, result.stderr
    assert "stopped and saved after iteration 5; the same command with --resume auto continues" in result.stderr
    assert "Traceback" not in result.stderr
    assert (stopped.folder / "state_iteration=5.pt").exists()  # of 3 an epoch
    assert not (stopped.folder / "per_case.csv").exists()
    assert stopped.start().returncode == 0
    assert_the_same(stopped.folder, whole)


@pytest.mark.slow
def test_a_run_killed_at_24_random_moments_ends_as_one_that_was_not(phantoms: Path, tmp_path: Path) -> None:
    rng = random.Random(0)
    whole, killed = (Run(tmp_path / name, dataset_dir=phantoms, epochs=EPOCHS) for name in ("whole", "killed"))
    assert whole.start().returncode == 0
    record = tmp_path / "record.txt"
    for phase in itertools.islice(itertools.cycle(PHASES), 24):
        moment = {"count": rng.randint(1, 4), "delay": rng.uniform(0, 0.15)}
        result = killed.start(phase=phase, record=str(record), **moment)
        assert result.returncode == -signal.SIGKILL, result.stderr
    assert killed.start().returncode == 0
    print(f"kills survived: {dict(Counter(record.read_text().split()))}")
    assert_the_same(killed.folder, whole.folder)
