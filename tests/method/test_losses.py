# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, rel_entr

from scripts.base.errors import BundleError
from scripts.method.losses import (
    AdversarialLoss,
    CriticLoss,
    bernoulli_divergence,
    neighbourhood_weights,
    voxel_weights,
)
from tests.builders import make_batch
from tests.tolerances import EXACT


def random_logits(seed: int) -> torch.Tensor:
    return 3 * torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_label(seed: int, shares: tuple[float, ...] = (0.1, 0.3, 0.02)) -> torch.Tensor:
    noise = torch.rand(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(seed))
    return (noise < torch.tensor(shares)[:, None, None, None]).double()


def weights_by_hand(label: np.ndarray) -> np.ndarray:
    weights = np.ones_like(label)
    for region in range(3):
        tumour = label[:, region] == 1
        weights[:, region][tumour] = tumour.size / 2 / tumour.sum()
        weights[:, region][~tumour] = tumour.size / 2 / (~tumour).sum()
    return weights


@pytest.mark.parametrize("balanced", [False, True])
def test_the_adversarial_losses_equal_cross_entropy_by_hand(balanced: bool) -> None:
    real, fake, label = random_logits(0), random_logits(1), random_label(2)
    weights = weights_by_hand(label.numpy()) if balanced else 1
    surprise_of_true = -np.log(expit(real.numpy())), -np.log(expit(fake.numpy()))
    surprise_of_false = -np.log(1 - expit(fake.numpy()))
    segmenters = (weights * surprise_of_true[1]).mean()
    critics = (weights * surprise_of_true[0]).mean() + (weights * surprise_of_false).mean()
    prediction = random_logits(3).sigmoid()
    assert AdversarialLoss(balanced=balanced)(fake, prediction, label).item() == pytest.approx(segmenters, rel=EXACT)
    masks = torch.cat([label, prediction])
    loss = CriticLoss(balanced=balanced)(torch.cat([real, fake]), masks, label)
    assert loss.item() == pytest.approx(critics, rel=EXACT)


def test_a_critic_of_the_correctness_learns_which_voxels_are_right() -> None:
    logits, prediction, label = random_logits(0), random_logits(1).sigmoid(), random_label(2)
    right = (prediction.numpy() > 0.5) == (label.numpy() == 1)
    chance = expit(logits.double().numpy())
    expected = -np.log(np.where(right, chance, 1 - chance)).mean()
    assert CriticLoss(judges="correctness")(logits, prediction, label).item() == pytest.approx(expected, rel=EXACT)
    everywhere = torch.full_like(logits, 20)
    loss = CriticLoss(judges="correctness")(everywhere, label, label)
    assert loss.item() == pytest.approx(math.log1p(math.exp(-20)), rel=EXACT)


def test_voxels_around_a_predicted_or_true_region_count_most() -> None:
    mask, label = torch.zeros(2, 1, 3, 16, 16, 16, dtype=torch.float64)
    mask[:, 0, 2, 2, 2], label[:, 1, 13, 13, 13] = 0.9, 1
    weights = neighbourhood_weights(mask, label, reach=2, elsewhere=0.1)
    around = weights > weights.min() * 1.1
    assert around.sum(dim=(0, 2, 3, 4)).tolist() == [6**3, 6**3, 0]
    assert around[0, 0, :6, :6, :6].all()
    assert weights.mean().item() == pytest.approx(1, rel=EXACT)
    assert (weights.max() / weights.min()).item() == pytest.approx(10, rel=EXACT)


def test_a_judgement_that_is_neither_is_refused() -> None:
    with pytest.raises(BundleError, match="critic_judges is quality; allowed are source and correctness"):
        CriticLoss(judges="quality")


def test_a_missed_small_tumour_weighs_half_when_balanced() -> None:
    label = torch.zeros(1, 3, 8, 8, 8, dtype=torch.float64)
    label[:, :, 0, 0, 0] = 1
    logits = 20 - 40 * label  # the critic sees through the tumour's one voxel, and nothing else
    least = math.log1p(math.exp(-20))  # of every voxel, and 20 more of the tumour's
    assert AdversarialLoss(balanced=False)(logits, label, label).item() == pytest.approx(least + 20 / 512, rel=EXACT)
    assert AdversarialLoss(balanced=True)(logits, label, label).item() == pytest.approx(least + 20 / 2, rel=EXACT)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32 - 1), shares=st.tuples(*[st.sampled_from([0.0, 0.01, 0.2, 0.9, 1.0])] * 3))
def test_tumour_and_background_of_each_region_weigh_the_same(seed: int, shares: tuple[float, ...]) -> None:
    label = random_label(seed, shares)
    weights = voxel_weights(label)
    assert weights.shape == label.shape
    for w, mask in zip(weights.unbind(1), label.unbind(1)):
        assert w.mean().item() == pytest.approx(1, rel=EXACT)
        if 0 < mask.sum() < mask.numel():
            assert w[mask == 1].sum().item() == pytest.approx(w[mask == 0].sum().item(), rel=EXACT)
        else:
            assert (w == 1).all()


def test_the_divergence_equals_an_independent_computation() -> None:
    logits = random_logits(0)
    target = random_logits(1).sigmoid()
    for t in (target, target.round()):
        p, q = t.numpy(), expit(logits.numpy())
        expected = (rel_entr(p, q) + rel_entr(1 - p, 1 - q)).mean()
        assert bernoulli_divergence(t, logits).item() == pytest.approx(expected, rel=EXACT)


def test_the_divergence_is_zero_when_perfect_larger_when_empty_and_always_finite() -> None:
    label = make_batch()[1].double()
    perfect, empty = 200 * label - 100, torch.full_like(label, -100.0)
    assert bernoulli_divergence(label, perfect).item() == pytest.approx(0, abs=EXACT)
    assert bernoulli_divergence(label, empty).item() == pytest.approx(100 * label.mean().item(), rel=EXACT)
    for logits in (perfect, -perfect, empty, -empty):
        logits.requires_grad_()
        loss = bernoulli_divergence(label, logits)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert math.isfinite(loss)
        assert gradient.isfinite().all()


def test_the_divergence_takes_its_target_for_a_constant() -> None:
    logits = random_logits(0).requires_grad_()
    target = logits.sigmoid()
    assert bernoulli_divergence(target, logits).item() == pytest.approx(0, abs=EXACT)
    bernoulli_divergence(target, logits - 1).backward()
    shift = (logits - 1).sigmoid() - target
    torch.testing.assert_close(logits.grad, shift.detach() / logits.numel(), rtol=EXACT, atol=0)
