# SPDX-License-Identifier: Apache-2.0

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

UNFINISHED = ".unfinished-"  # how a folder begins in which a file is being written


def write_atomically(path: PathLike, content: bytes) -> None:
    """Writes a file whole or not at all, in place of an old one, so that even a power cut leaves one of the two.

    Its folders are made. What is being written lies in a hidden folder beside it, which a killed program leaves.

    Raises:
        BundleError: where it cannot be written.
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
            f"{path}: cannot be written ({error.strerror}); make space there or give another place. "
            f"Older files are as they were."
        ) from error


def remove_unfinished(folder: PathLike) -> None:
    """Removes what programs that were killed while writing left in a folder."""
    for unfinished in Path(folder).glob(f"{UNFINISHED}*"):
        shutil.rmtree(unfinished, ignore_errors=True)


def make_folder(path: PathLike) -> None:
    """Makes a folder for results, and tries it before the work is done that fills it.

    Raises:
        BundleError: where nothing can be written into it.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=Path(path)).close()
    except OSError as error:
        raise BundleError(f"{path}: cannot be written into ({error.strerror}); give a folder that can.") from error


def to_bytes(state: Any) -> bytes:
    """Gives what `torch.save` would write."""
    content = io.BytesIO()
    torch.save(state, content)
    return content.getvalue()


def is_intact_archive(path: PathLike) -> bool:
    """Compares the checksums in a file of `torch.save`, which PyTorch writes, but does not look at when it loads."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, ValueError, RuntimeError, zlib.error):
        return False


def _sync_folder(folder: Path) -> None:
    """Makes sure that a renaming is on the disk; Windows cannot open folders, and does not need it."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
