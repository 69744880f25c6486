# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.base.errors import BundleError
from scripts.tools import bundle_command
from scripts.tools.bundle_command import run_command


@pytest.mark.parametrize("threads", [None, 1])
def test_settings_and_threads_reach_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, threads: int | None
) -> None:
    def run(command: list[str], *, env: dict[str, str], stdout: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        stdout.write(f"{' '.join(command[2:])} {env.get('OMP_NUM_THREADS')}")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(bundle_command.subprocess, "run", run)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    log = tmp_path / "new" / "log"
    run_command("training", ["a.yaml"], {"amp": False, "output_dir": tmp_path}, log=log, threads=threads)
    expected = f"monai.bundle run training --config_file ['a.yaml'] --amp False --output_dir {tmp_path} {threads}"
    assert log.read_text() == expected


def test_a_failure_is_told_with_the_last_line_and_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def run(command: list[str], *, stdout: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        stdout.write("begun\nerror: features is 7")
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(bundle_command.subprocess, "run", run)
    with pytest.raises(BundleError, match=r"`run training` failed: error: features is 7; its log is .*out\.log"):
        run_command("training", [], {}, log=tmp_path / "out.log")
