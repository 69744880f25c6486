# SPDX-License-Identifier: Apache-2.0
"""The files that are written for people: each is listed beside itself, and none ever replaces a file of somebody else.

A folder's list has the SHA-256 and the name of every file that was written into it, as `sha256sum` writes and checks
them. A file counts as this bundle's own where its name and its content are listed, so that one that a person made, or
has changed since, is told from it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from monai.config import PathLike

from scripts.base.atomic_files import write_atomically
from scripts.base.errors import BundleError, one_line

LIST = "written_by_brats_mri_reciprocal_segmentation.txt"
_HEAD = b"# What this program wrote into this folder (sha256sum -c). It replaces no other file here. Not for diagnosis."


def write_result(path: PathLike, content: bytes) -> None:
    """Writes a file atomically (see `write_atomically`), unless it would replace one of somebody else.

    It is listed before it is written, so that a run that is killed in between can be repeated.

    Raises:
        BundleError: if a file of somebody else is there, or the file cannot be written.
    """
    refuse_replacing(path)
    _list(Path(path), hashlib.sha256(content).hexdigest())
    write_atomically(path, content)


def is_result(path: PathLike) -> bool:
    """Returns whether a file is one that this bundle wrote into its folder, unchanged."""
    path = Path(path)
    listed = _listed(path)
    return bool(listed) and path.is_file() and _digest(path) in listed


def refuse_replacing(*paths: PathLike) -> None:
    """Raises a `BundleError` that names the first of the paths at which there is a file of somebody else."""
    for path in paths:
        if os.path.lexists(path) and not is_result(path):
            raise BundleError(
                f"{one_line(path)}: was not written by this program, or was changed since, so it is not replaced; "
                "choose another output folder or file, or move it away"
            )


def check_results(cases: Iterable[Any], *writers: Any) -> None:
    """Checks, before any work is done, that none of the files that will be written is of somebody else.

    Args:
        cases: items of the cases, or their ids.
        writers: handlers and transforms, also in lists and in `Compose`; those that write have a method `results_of`,
            which takes the ids of the cases and returns paths.

    Raises:
        BundleError: as `refuse_replacing`.
    """
    ids = [str(case if isinstance(case, str) else case["case"]) for case in cases]
    for writer in writers:
        if isinstance(writer, Sequence) or hasattr(writer, "transforms"):
            check_results(ids, *getattr(writer, "transforms", writer))
        elif hasattr(writer, "results_of"):
            refuse_replacing(*writer.results_of(ids))


def set_aside(path: Path, name: str, *, folder: Path | None = None) -> Path:
    """Renames a file so that nothing of somebody else is replaced, and returns its new path.

    Args:
        path: of the file.
        name: its new name, to which a number is added where a file of somebody else has it.
        folder: its new folder; None for the one it is in.
    """
    place = (folder or path.parent) / name
    for number in range(2, 10_000):
        if not os.path.lexists(place) or is_result(place):
            break
        place = place.with_name(f"{Path(name).stem}-{number}{Path(name).suffix}")
    if is_result(path):
        _list(place, _digest(path))
    os.replace(path, place)
    return place


def _list(path: Path, digest: str) -> None:
    if digest in _listed(path):
        return
    place = path.parent / LIST
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        head = b"" if place.exists() else _HEAD
        # one write, so that processes do not mix their lines, and a line break first, in case the last line is cut off
        with open(place, "ab", buffering=0) as file:
            file.write(head + f"\n{digest}  ".encode() + os.fsencode(path.name))
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another place. "
            "Older files are unchanged."
        ) from error


def _listed(path: Path) -> set[str]:
    """Returns the digests that the list of a file's folder has under its name."""
    try:
        lines = (path.parent / LIST).read_bytes().split(b"\n")
    except OSError:
        return set()
    name = os.fsencode(path.name)
    return {line[:64].decode("ascii", "replace") for line in lines if line[66:] == name}


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
