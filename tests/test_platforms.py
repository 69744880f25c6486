# SPDX-License-Identifier: Apache-2.0

"""The commands without what only Linux has; macOS and Windows themselves were not tried."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.data.phantoms import make_cohort
from tests.campaign import INFERENCE, SMALL, TRAIN, make_weights

BUNDLE = Path(__file__).parents[1]
# `python -m monai.bundle` where os.sched_getaffinity and the module `resource` do not exist
WITHOUT = """
import os, runpy, sys
del os.sched_getaffinity
sys.modules["resource"] = None
sys.argv[0] = "monai.bundle"
runpy.run_module("monai.bundle", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(("run_id", "config"), [("inferring", INFERENCE), ("training", TRAIN)])
def test_a_command_needs_nothing_that_only_linux_has_and_runs_in_any_folder(
    tmp_path: Path, run_id: str, config: str
) -> None:
    make_weights(tmp_path / "models")
    settings: dict[str, object] = SMALL | {
        "bundle_root": BUNDLE,
        "dataset_dir": make_cohort(tmp_path / "data", cases=3, shape=(32, 32, 32)),
        "output_dir": tmp_path / "out",
        "ckpt_dir": tmp_path / "models",
        "cache_dir": tmp_path / "cache",
        "spacing": 8.0,
        "device": "cpu",
    }
    if run_id == "training":
        settings |= {"epochs": 1, "val_interval": 1, "vat_start": 0, "critic_start": 0, "critic_ramp": 0}
    options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-c", WITHOUT, "run", run_id, "--config_file", str(BUNDLE / config), *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(BUNDLE)}
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert len(list((tmp_path / "out").glob("*_seg.nii.gz"))) == (3 if run_id == "inferring" else 0)
