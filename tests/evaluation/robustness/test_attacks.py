# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from scripts.evaluation.robustness.attacks import ATTACKS, attack_loss, pgd_change, random_change, vat_change
from scripts.method.vat import adversarial_direction
from tests.builders import make_batch, make_segmenter, make_trained_segmenter
from tests.tolerances import FLOAT32

RMS = 0.05


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    return make_trained_segmenter().eval().requires_grad_(False)


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize("rms", [0.01, 0.05])
def test_every_change_has_the_set_size_and_lies_on_the_brain(name: str, rms: float, trained: nn.Module) -> None:
    image, label = make_batch(1)
    change = ATTACKS[name](trained, image, label, rms=rms, seed=0)
    brain = (image != 0).any(dim=1, keepdim=True).expand_as(image)
    # it is scaled in float32, by the root of a sum of 7,000 squares: rounding grows by the root of their number, to
    # 84 * 2^-24 of the sum and half of that of its root; four times that
    assert change[brain].double().square().mean().sqrt().item() == pytest.approx(rms, rel=1e-5)
    assert (change[~brain] == 0).all()
    assert not change.requires_grad


def test_pgd_is_worse_than_vat_and_vat_than_any_random_change(trained: nn.Module) -> None:
    image, label = make_batch(1)

    def loss(change: torch.Tensor) -> float:
        return attack_loss(trained, image + change, label).item()

    clean = loss(torch.zeros_like(image))
    randoms = [loss(random_change(trained, image, label, rms=RMS, seed=seed)) for seed in range(20)]
    vat, pgd = (loss(change(trained, image, label, rms=RMS, seed=0)) for change in (vat_change, pgd_change))
    assert clean < vat
    assert max(randoms) < vat < pgd


def test_pgd_keeps_the_worst_of_its_steps(trained: nn.Module) -> None:
    image, label = make_batch(1)
    losses = [
        attack_loss(trained, image + pgd_change(trained, image, label, rms=RMS, seed=0, steps=1), label).item(),
        attack_loss(trained, image + pgd_change(trained, image, label, rms=RMS, seed=0, steps=6), label).item(),
    ]
    assert losses[1] > losses[0]


def test_vats_change_is_that_of_the_training() -> None:
    segmenter = make_segmenter()
    image, label = make_batch(1)
    expected = adversarial_direction(segmenter, image, label, epsilon=RMS)
    assert torch.equal(vat_change(segmenter, image, label, rms=RMS, seed=5), expected)


def test_the_random_change_depends_on_the_seed_alone() -> None:
    image, label = make_batch(1)
    first, other = (random_change(make_segmenter(s), image, label, rms=RMS, seed=1) for s in (0, 1))
    assert torch.equal(first, other)
    assert not torch.equal(first, random_change(make_segmenter(), image, label, rms=RMS, seed=2))


def test_the_loss_is_dice_loss_plus_divergence() -> None:
    label = torch.zeros(1, 1, 2, 2, 2)
    label[..., 0] = 1
    network = nn.Conv3d(1, 1, 1, bias=False)
    nn.init.zeros_(network.weight)
    # every probability is one half: Dice (2 * 2 + 1) / (4 + 4 + 1), divergence log 2
    expected = 1 - 5 / 9 + math.log(2)
    assert attack_loss(network, torch.rand(1, 1, 2, 2, 2), label).item() == pytest.approx(expected, rel=FLOAT32)
