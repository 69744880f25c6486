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

import logging
from typing import Any

import torch
from monai.data import PersistentDataset

logger = logging.getLogger(__name__)


class CachedDataset(PersistentDataset):
    """MONAI's `PersistentDataset`, which makes a file of its cache anew that a run which was cut off left incomplete.

    Cases are preprocessed when first asked for and never all in memory.
    """

    def _cachecheck(self, item_transformed: Any) -> Any:
        try:
            return super()._cachecheck(item_transformed)
        except Exception as error:
            if self.cache_dir is None:
                raise
            place = self.cache_dir / f"{self.hash_func(item_transformed).decode()}{self.transform_hash}.pt"
            if not place.is_file() or _loads(place):
                raise
            logger.warning("%s: cannot be read (%s); the case is preprocessed anew", place, type(error).__name__)
            place.unlink()
            return super()._cachecheck(item_transformed)


def _loads(path: Any) -> bool:
    try:
        torch.load(path, weights_only=True)
    except Exception:  # damaged bytes make it raise about anything
        return False
    return True
