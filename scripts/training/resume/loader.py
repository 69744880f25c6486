# SPDX-License-Identifier: Apache-2.0
"""A data loader that can start in the middle of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from monai.data import DataLoader


class ResumableDataLoader(DataLoader):
    """MONAI's `DataLoader` that can start in the middle of an epoch: the next iteration leaves out `skip` batches.

    The skipped batches are loaded, so that random transforms draw the same numbers as in an uninterrupted epoch.

    Args:
        args: arguments of MONAI's `DataLoader`.
        options: keyword arguments of MONAI's `DataLoader`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.skip = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Returns an iterator over the batches of an epoch."""
        skip, self.skip = self.skip, 0
        return islice(super().__iter__(), skip, None)
