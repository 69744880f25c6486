# SPDX-License-Identifier: Apache-2.0
"""Writing of files that are never left half written, and checks of archives."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import torch
from monai.config import PathLike

from scripts.base.errors import BundleError

UNFINISHED = ".unfinished-"  # prefix of the temporary folders in which files are written


def write_atomically(path: PathLike, content: bytes) -> None:
    """Writes or replaces a file so that it is complete at every moment: a power cut leaves the old or the new one.

    Creates missing folders. The content is first written into a hidden folder next to the file; a program that is
    killed leaves this folder behind, see `remove_unfinished`.

    Raises:
        BundleError: if the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent, prefix=UNFINISHED) as folder:
            unfinished = Path(folder) / path.name
            with open(unfinished, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another place. "
            f"Older files are unchanged."
        ) from error


def remove_unfinished(folder: PathLike) -> None:
    """Removes the temporary folders of programs that were killed while they wrote into this folder."""
    for unfinished in Path(folder).glob(f"{UNFINISHED}*"):
        shutil.rmtree(unfinished, ignore_errors=True)


def make_folder(path: PathLike) -> None:
    """Creates a folder for results and checks that it is writable, before any long computation starts.

    Raises:
        BundleError: if no file can be written into it.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=Path(path)).close()
    except OSError as error:
        raise BundleError(f"{path}: cannot be written into ({error.strerror}); choose a writable folder.") from error


def to_bytes(state: Any) -> bytes:
    """Returns the bytes that `torch.save` would write."""
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


def is_intact_archive(path: PathLike) -> bool:
    """Returns whether the checksums in a file of `torch.save` are right; PyTorch does not check them when it loads."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError, RuntimeError, zlib.error):
        return False


def _sync_folder(folder: Path) -> None:
    """Flushes a renaming to the disk; Windows cannot open folders and does not need it."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
