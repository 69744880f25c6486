# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from monai.transforms import Compose, RandGaussianNoise, RandGaussianSmooth, RandHistogramShift

from scripts.data.augmentation import EachModalityd, RandFieldOfViewd, RandMissingModalityd, RandModalityMixd


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


def test_background_stays_0_under_noise_and_blur() -> None:
    image = torch.rand(4, 10, 10, 10) + 0.1
    image[:, :3] = 0
    change = Compose([RandGaussianSmooth(prob=1), RandGaussianNoise(prob=1)])
    changed = EachModalityd("image", change).set_random_state(0)({"image": image})["image"]
    assert torch.equal(changed == 0, image == 0)
    assert (changed != image)[:, 3:].all()


def test_a_mixture_lies_between_two_modalities_in_the_brain() -> None:
    mix, pairs = RandModalityMixd("image", prob=1, max_share=0.4), set()
    mix.set_random_state(0)
    image = torch.tensor([0.1, 0.2, 0.4, 0.8])[:, None, None, None].repeat(1, 3, 3, 3)
    image[:, 0] = 0
    for _ in range(60):
        mixed = mix({"image": image})["image"]
        (one,) = (mixed != image).any(dim=(1, 2, 3)).nonzero()[:, 0].tolist()
        assert torch.equal(mixed[:, 0], image[:, 0])
        (value,) = mixed[one, 1:].unique().tolist()
        shares = [(value - image[one, 2, 0, 0]) / (other - image[one, 2, 0, 0]) for other in image[:, 2, 0, 0]]
        others = [i for i, share in enumerate(shares) if i != one and 0 < share <= 0.4001]
        assert others
        pairs |= {(one, other) for other in others}
    assert len(pairs) == 12


def test_one_or_two_modalities_are_missing_and_no_others() -> None:
    drop, seen = RandMissingModalityd("image", prob=1), set()
    drop.set_random_state(0)
    image = torch.rand(4, 3, 3, 3) + 0.1
    for _ in range(100):
        changed = drop({"image": image, "label": image})
        missing = (changed["image"] == 0).all(dim=(1, 2, 3))
        assert torch.equal(changed["image"][~missing], image[~missing])
        assert torch.equal(changed["label"], image)
        seen.add(tuple(missing.nonzero()[:, 0].tolist()))
    assert seen == {(i,) for i in range(4)} | {(i, j) for i in range(4) for j in range(i + 1, 4)}
    assert torch.equal(RandMissingModalityd("image", prob=0)({"image": image})["image"], image)
