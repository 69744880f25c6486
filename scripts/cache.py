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

import os
import tempfile
from typing import Any

from monai.data import PersistentDataset


class CaseCache(PersistentDataset):
    """MONAI's `PersistentDataset`, whose files appear whole: other processes may read them, and a run may be killed.

    MONAI moves a finished file out of the system's temporary folder. That is a copy, which others see unfinished,
    where the cache is on another disk, and a rename where it is not.
    """

    def _cachecheck(self, item_transformed: Any) -> Any:
        before, tempfile.tempdir = tempfile.tempdir, os.fspath(self.cache_dir) if self.cache_dir else None
        try:
            return super()._cachecheck(item_transformed)
        finally:
            tempfile.tempdir = before
