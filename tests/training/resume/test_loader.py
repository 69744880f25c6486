# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from monai.data import Dataset
from monai.transforms import RandGaussianNoise

from scripts.training.resume.loader import ResumableDataLoader


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
