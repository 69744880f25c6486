# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from monai.transforms import RandHistogramShift

from scripts.data.augmentation import EachModalityd, RandFieldOfViewd


def test_a_cut_takes_one_side_of_one_modality_and_nothing_else() -> None:
    cut, seen = RandFieldOfViewd("image", prob=1, max_fraction=0.5), set()
    cut.set_random_state(0)
    image = torch.rand(4, 12, 14, 16) + 0.1
    for _ in range(60):
        gone = cut({"image": image})["image"] == 0
        if not gone.any():
            continue
        (modality,) = gone.any(dim=(1, 2, 3)).nonzero()
        # a slab: the whole of two axes, and a run of slices that begins at one end of the third
        axis = next(a for a in range(3) if not gone[modality[0]].movedim(a, 0).flatten(1).any(1).all())
        slices = gone[modality[0]].movedim(axis, 0).flatten(1)
        assert torch.equal(slices.any(1), slices.all(1))
        assert 2 * slices.any(1).sum() <= len(slices) + 1
        at_start, at_end = slices.any(1)[0].item(), slices.any(1)[-1].item()
        assert at_start != at_end
        assert slices.any(1).int().diff().abs().sum() == 1
        seen.add((int(modality), axis, at_end))
    assert len(seen) > 15
    assert (image > 0).all()


def test_a_cut_of_probability_0_is_none() -> None:
    image = torch.rand(4, 8, 8, 8)
    assert torch.equal(RandFieldOfViewd("image", prob=0)({"image": image})["image"], image)


def test_each_modality_draws_a_contrast_of_its_own_and_again_from_the_same_seed() -> None:
    change = EachModalityd("image", RandHistogramShift(num_control_points=(4, 6), prob=1))
    image = torch.linspace(0, 1, 60).reshape(1, 3, 4, 5).repeat(4, 1, 1, 1)
    changed_once, changed_again = (change.set_random_state(3)({"image": image})["image"] for _ in range(2))
    assert torch.equal(changed_once, changed_again)
    curves = changed_once.flatten(1)
    assert len({tuple(curve.tolist()) for curve in curves}) == 4
    # contrast changes, order does not; background stays 0
    assert (curves.diff(dim=1) >= 0).all()
    assert (curves[:, 0] == 0).all()
