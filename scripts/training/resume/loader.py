# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from monai.data import DataLoader


class ResumableDataLoader(DataLoader):
    """MONAI's `DataLoader`, which can begin in the middle of an epoch: `skip` batches are left out, once.

    They are loaded nevertheless, so that random transforms have drawn what they would have drawn.

    Args:
        options: those of MONAI's `DataLoader`.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.skip = 0

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        """Gives the batches of an epoch."""
        skip, self.skip = self.skip, 0
        return islice(super().__iter__(), skip, None)
