# SPDX-License-Identifier: Apache-2.0
"""Pages of documentation whose tables a program writes below a mark, and whose text a person writes above it."""

from __future__ import annotations

from pathlib import Path

from monai.config import PathLike

from scripts.base.atomic_files import write_atomically
from scripts.base.errors import BundleError


def check_mark(page: PathLike, mark: str) -> None:
    """Raises a `BundleError` if the page is not there, or has no mark."""
    if not Path(page).is_file() or mark not in Path(page).read_text():
        raise BundleError(f"--page {page}: has no line {mark}; add it where the tables shall stand, to the end")


def write_below(page: PathLike, mark: str, text: str) -> None:
    """Replaces what the page has below the mark."""
    above = Path(page).read_text().split(mark)[0]
    write_atomically(page, f"{above}{mark}\n\n{text}".encode())
