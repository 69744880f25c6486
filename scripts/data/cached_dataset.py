# SPDX-License-Identifier: Apache-2.0
"""Data sets of cases: with errors that name the files, and with a cache on disk that processes may share."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset, PersistentDataset
from monai.data.utils import pickle_hashing
from monai.utils import ensure_tuple

from scripts.base.errors import BundleError, one_line
from scripts.brats import Item
from scripts.data.item_files import hash_item

logger = logging.getLogger(__name__)


class CaseDataset(Dataset):
    """MONAI's `Dataset` of cases, whose errors name the case's files."""

    def _transform(self, index: int) -> Any:
        with naming_files(self.data[index]):
            return super()._transform(index)


class CachedDataset(PersistentDataset):
    """MONAI's `PersistentDataset` of cases, whose cache several processes may share, any of which may be killed.

    Cases are preprocessed when they are first read and never all in memory. A damaged file of the cache is replaced,
    and so is one whose case or preprocessing changed. Errors name the case's files.

    Args:
        data: the cases.
        transform: preprocessing, of which the deterministic first part is cached, and augmentation.
        cache_dir: folder of the cache; None caches nothing.
        hash_transform: hash of the preprocessing, part of a cached file's name; None for transforms without a hash.
    """

    def __init__(
        self,
        data: Sequence[Item],
        transform: Callable,
        cache_dir: Path | str | None,
        *,
        hash_transform: Callable | None = pickle_hashing,
    ) -> None:
        super().__init__(data, transform, cache_dir, hash_func=hash_item, hash_transform=hash_transform)

    def _transform(self, index: int) -> Any:
        with naming_files(self.data[index]):
            return super()._transform(index)

    def _cachecheck(self, item_transformed: Any) -> Any:
        try:
            with _temporary_files_in(self.cache_dir):
                return super()._cachecheck(item_transformed)
        except Exception as error:
            if self.cache_dir is None:
                raise
            place = self.cache_dir / f"{self.hash_func(item_transformed).decode()}{self.transform_hash}.pt"
            if not place.is_file() or _loads(place):
                raise
            logger.warning("%s: cannot be read (%s); the case is preprocessed again", place, type(error).__name__)
            place.unlink()
            return self._cachecheck(item_transformed)


@contextmanager
def _temporary_files_in(folder: Path | None) -> Iterator[None]:
    """Lets MONAI write its temporary files here: one moved from another disk could be read half-written."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder) if folder else None
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def naming_files(item: Item) -> Iterator[None]:
    """Turns any error raised in the context into a `BundleError` that names the case's files."""
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, BundleError):  # as MONAI wraps errors
            cause = cause.__cause__
        if isinstance(cause, BundleError):
            raise cause from None
        files = ", ".join(ensure_tuple(item["image"]))
        reason = f"{type(cause).__name__}: {cause}"
        raise BundleError(
            f"{one_line(files)}: cannot be prepared ({one_line(reason)[:200]}); "
            "open them in a viewer, mend them, or leave the case out"
        ) from error


def _loads(path: Path) -> bool:
    try:
        torch.load(path, weights_only=True)
    except Exception:  # damaged bytes make it raise about anything
        return False
    return True
