# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.base.folder_lock import lock_folders, unlock_folders

BUNDLE = Path(__file__).parents[2]
HOLD = """import sys; from scripts.base.folder_lock import lock_folders
lock_folders(sys.argv[1:]); print(1, flush=True); input()"""


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process, which holds the locks of the folders `runs` and `models`."""
    folders = [tmp_path / "runs", tmp_path / "models"]
    for folder in folders:
        folder.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, *map(str, folders)],
        cwd=BUNDLE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        yield process
        process.kill()
    unlock_folders()


@pytest.mark.parametrize("shared", ["runs", "models"])
def test_a_folder_of_another_training_is_refused_by_its_process(
    tmp_path: Path, other: subprocess.Popen[str], shared: str
) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(BundleError, match=f"process {other.pid} on ") as caught:
        lock_folders([tmp_path / "mine", tmp_path / shared])
    assert str(tmp_path / shared) in str(caught.value)
    assert "--output_dir" in str(caught.value)


def test_a_crash_leaves_no_locked_folder_behind(tmp_path: Path, other: subprocess.Popen[str]) -> None:
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    lock_folders([tmp_path / "runs", tmp_path / "models"])


def test_a_process_may_train_again_in_its_own_folder(tmp_path: Path) -> None:
    for _ in range(2):
        lock_folders([tmp_path, tmp_path])
    unlock_folders()
    lock_folders([tmp_path])
    unlock_folders()
