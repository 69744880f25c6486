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

import pytest
import torch
from monai.data import Dataset
from monai.transforms import RandGaussianNoise

from scripts.loader import ResumableDataLoader


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_is_skipped_is_drawn_nevertheless_and_once(num_workers: int) -> None:
    noise = RandGaussianNoise(prob=0.5)
    dataset = Dataset([torch.full((1, 2, 2, 2), float(number)) for number in range(12)], noise)
    loader = ResumableDataLoader(dataset, batch_size=2, shuffle=True, num_workers=num_workers)

    def epoch() -> list[torch.Tensor]:
        noise.set_random_state(0)
        torch.manual_seed(0)
        return list(loader)

    whole = epoch()
    loader.skip = 4
    rest, again = epoch(), epoch()
    assert len(whole) == len(again) == 6
    assert len(rest) == 2
    for batches, expected in ((rest, whole[4:]), (again, whole)):
        assert all(torch.equal(*pair) for pair in zip(batches, expected, strict=True))
