# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch

from scripts.method.spoilt_masks import WAYS, SpoiltMasks
from tests.builders import make_batch


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__.strip("_"))
def test_each_way_makes_the_mistake_of_its_name(way: Any) -> None:
    mask = make_batch(1)[1]
    generator = torch.Generator().manual_seed(0)
    spoilt = [way(mask, generator) for _ in range(8)]
    assert all(s.shape == mask.shape and set(s.unique().tolist()) <= {0, 1} for s in spoilt)
    added = sum((s > mask).sum().item() for s in spoilt)
    lost = sum((s < mask).sum().item() for s in spoilt)
    expected = {
        "_keep": (False, False),
        "_dilate": (True, False),
        "_erode": (False, True),
        "_add_islands": (True, False),
        "_make_holes": (False, True),
        "_lose_region": (False, True),
    }
    assert (added > 0, lost > 0) == expected.get(way.__name__, (True, True))


def test_true_masks_are_among_the_spoilt_and_all_are_soft() -> None:
    _, label = make_batch(1)
    spoil = SpoiltMasks()
    results = [spoil(label, number) for number in range(60)]
    right = [((s > 0.5) == (label > 0.5)).float().mean().item() for s in results]
    assert max(right) > 0.995
    assert sum(share < 0.99 for share in right) > 20
    assert all(s.min() > 0 and s.max() < 1 and s.unique().numel() > 10 for s in results)


def test_a_call_repeats_and_the_next_one_differs() -> None:
    _, label = make_batch(2)
    state = torch.get_rng_state()
    first, again, other = (SpoiltMasks(seed=3)(label, number) for number in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
