# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from monai.data import Dataset
from monai.utils import ensure_tuple

from scripts.cases import Item
from scripts.errors import BundleError, one_line


class CaseDataset(Dataset):
    """MONAI's `Dataset` of cases, whose errors name the case's files."""

    def _transform(self, index: int) -> Any:
        with naming_files(self.data[index]):
            return super()._transform(index)


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
