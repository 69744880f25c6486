# SPDX-License-Identifier: Apache-2.0
"""Remembers on disk which cases were found sound, so that only new and changed ones are read again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.item_files import hash_item

RULES = 4  # increased whenever the checks find what they did not find before


def recall(item: Item, cache_dir: str) -> tuple[float, ...] | None:
    """Returns the values of a sound case's label map but 0, or None where the case is not known, or has changed."""
    with suppress(OSError, ValueError):
        return tuple(map(float, _mark(item, cache_dir).read_text().split()))
    return None


def remember(item: Item, values: tuple[float, ...], cache_dir: str) -> None:
    """Remembers a sound case, with the values of its label map.

    Raises:
        BundleError: where the folder cannot be written.
    """
    try:
        mark = _mark(item, cache_dir)
        mark.parent.mkdir(parents=True, exist_ok=True)
        mark.write_text(" ".join(map(str, values)))
    except OSError as error:
        raise BundleError(f"cache_dir {cache_dir}: cannot be written ({error.strerror}); choose another") from error


def _mark(item: Item, cache_dir: str) -> Path:
    return Path(cache_dir, f"sound_cases_{RULES}", hash_item(item).decode())
