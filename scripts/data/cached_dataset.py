# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset, PersistentDataset
from monai.utils import ensure_tuple

from scripts.base.errors import BundleError, one_line
from scripts.brats import Item

logger = logging.getLogger(__name__)


class CaseDataset(Dataset):
    """MONAI's `Dataset` of cases, whose errors name the case's files."""

    def _transform(self, index: int) -> Any:
        with naming_files(self.data[index]):
            return super()._transform(index)


class CachedDataset(PersistentDataset):
    """MONAI's `PersistentDataset` of cases, whose cache may be shared by several processes, any of which may be killed.

    Cases are preprocessed when first asked for and never all in memory. A damaged file of the cache is made anew.
    Errors name the case's files.
    """

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
            logger.warning("%s: cannot be read (%s); the case is preprocessed anew", place, type(error).__name__)
            place.unlink()
            return self._cachecheck(item_transformed)


@contextmanager
def _temporary_files_in(folder: Path | None) -> Iterator[None]:
    """MONAI moves a finished file here from the temporary folder: a copy from another disk is seen unfinished."""
    before, tempfile.tempdir = tempfile.tempdir, str(folder) if folder else None
    try:
        yield
    finally:
        tempfile.tempdir = before


@contextmanager
def naming_files(item: Item) -> Iterator[None]:
    """Makes an error that comes up here a `BundleError` that names the case's files."""
    try:
        yield
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None and not isinstance(cause, BundleError):  # MONAI wraps what a transform raises
            cause = cause.__cause__
        if isinstance(cause, BundleError):
            raise cause from None
        files = ", ".join(ensure_tuple(item["image"]))
        reason = f"{type(cause).__name__}: {cause}"
        raise BundleError(f"{one_line(files)}: cannot be prepared ({one_line(reason)[:200]})") from error


def _loads(path: Path) -> bool:
    try:
        torch.load(path, weights_only=True)
    except Exception:  # damaged bytes make it raise about anything
        return False
    return True
