# SPDX-License-Identifier: Apache-2.0
"""Phantoms of the experiments, and their commands without starting programs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from scripts.data.phantoms import make_cohort
from scripts.tools import bundle_command
from scripts.tools.evidence.arms import SMALL
from tests import commands

TINY = SMALL | {"spacing": 5.0, "patch_size": 16, "critic_features": 4, "epochs": 1}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_cohort(tmp_path_factory.mktemp("data") / "phantoms", cases=4, shape=(48, 48, 40))


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells run their commands in the tests' executioner."""
    monkeypatch.setattr(bundle_command.subprocess, "run", run_quickly)


def run_quickly(command: Sequence[str], *, cwd: Path, stdout: Any, **_: Any) -> subprocess.CompletedProcess[str]:
    done = commands.run(*command[2:], cwd=cwd)
    stdout.write(done.stdout + done.stderr)
    return done
