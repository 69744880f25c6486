# SPDX-License-Identifier: Apache-2.0
"""Locks on the folders of a training, so that a second one does not mix its files with those of the first."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout
from monai.config import PathLike

from scripts.base.errors import BundleError

LOCK = ".training.lock"
HOLDER = ".training.json"  # who holds the lock
_held: dict[Path, FileLock] = {}


def lock_folders(folders: Iterable[PathLike]) -> None:
    """Locks folders for this process until `unlock_folders`, or until it ends in whatever way.

    The operating system holds the lock (`filelock`, MIT), so that a crash does not leave a locked folder behind.

    Raises:
        BundleError: where another process has locked one of the folders.
    """
    for folder in sorted({Path(folder).resolve() for folder in folders} - set(_held)):
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BundleError(
                f"{folder}: another training writes into it ({_holder(folder)}); "
                "wait for its end, stop it, or choose another --output_dir and --ckpt_dir"
            ) from error
        _held[folder] = lock
        (folder / HOLDER).write_text(json.dumps({"process": os.getpid(), "host": socket.gethostname()}))


def unlock_folders() -> None:
    """Releases the folders that this process locked."""
    for folder in list(_held):
        with suppress(OSError):
            (folder / HOLDER).unlink()
        _held.pop(folder).release()


def _holder(folder: Path) -> str:
    try:
        holder = json.loads((folder / HOLDER).read_text())
        return f"process {holder['process']} on {holder['host']}"
    except (OSError, ValueError, KeyError):
        return "of an unknown process"
