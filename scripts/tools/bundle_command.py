# SPDX-License-Identifier: Apache-2.0
"""Runs commands of the bundle, and modules, as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.base.errors import BundleError

BUNDLE = Path(__file__).resolve().parents[2]


def run_command(
    name: str, configs: Sequence[str], settings: Mapping[str, Any], *, log: Path, threads: int | None = None
) -> None:
    """Runs `python -m monai.bundle run <name>`.

    Args:
        name: training, evaluating and the like.
        configs: config files, later ones laid over earlier ones.
        settings: of these configs.
        log: as in `run_module`.
        threads: as in `run_module`.

    Raises:
        BundleError: if the command fails, with its last line and where its log is.
    """
    arguments = ["run", name, "--config_file", str(list(configs))]
    arguments += [text for key, value in settings.items() for text in (f"--{key}", str(value))]
    run_module("monai.bundle", arguments, name=f"`run {name}`", log=log, threads=threads)


def run_module(module: str, arguments: Sequence[str], *, name: str, log: Path, threads: int | None = None) -> None:
    """Runs `python -m <module>` in the bundle's folder.

    Args:
        module: to run.
        arguments: of its command line.
        name: of it in an error.
        log: file that takes what it prints; its folder is made.
        threads: number of PyTorch's threads, or None for PyTorch's own choice.

    Raises:
        BundleError: if it fails, with its last line and where its log is.
    """
    command = [sys.executable, "-m", module, *arguments]
    environment = os.environ | ({} if threads is None else {"OMP_NUM_THREADS": str(threads)})
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w") as file:
        done = subprocess.run(command, cwd=BUNDLE, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False)
    if done.returncode:
        last = (log.read_text(errors="replace").strip() or "no output").splitlines()[-1]
        raise BundleError(f"{name} failed: {last}; its log is {log}")
