# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.losses import DiceLoss

from scripts.method.losses import bernoulli_divergence
from scripts.method.vat import adversarial_direction, scale_to_rms

Segmenter = Callable[[torch.Tensor], torch.Tensor]  # gives logits
DICE = DiceLoss(sigmoid=True, smooth_nr=1, smooth_dr=1)


def random_change(
    network: Segmenter, image: torch.Tensor, truth: torch.Tensor, *, rms: float, seed: int
) -> torch.Tensor:
    """A change of the set size in a random direction, which ignores network and truth: what the others must beat."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return scale_to_rms(noise.to(image.device), image, rms=rms)


def vat_change(network: Segmenter, image: torch.Tensor, truth: torch.Tensor, *, rms: float, seed: int) -> torch.Tensor:
    """The change that VAT trains against: one step along the gradient of Eq. 4's divergence."""
    return adversarial_direction(network, image, truth, epsilon=rms)


def pgd_change(
    network: Segmenter, image: torch.Tensor, truth: torch.Tensor, *, rms: float, seed: int, steps: int = 8
) -> torch.Tensor:
    """Projected gradient ascent (Madry et al. 2018) on Dice loss plus Eq. 4's divergence, from no change on.

    Each step goes along the gradient, then back onto the sphere of the set size. Of all steps the worst is kept.

    Args:
        network: gives logits (B, regions, H, W, D).
        image: (B, modalities, H, W, D), background exactly 0.
        truth: binary regions (B, regions, H, W, D).
        rms: the change's root mean square over brain voxels and modalities.
        seed: is not used.
        steps: how many.

    Returns:
        The change, of the image's shape, 0 outside the brain. As VAT's, it may leave [0, 1] by what it adds.
    """
    change, worst, highest = torch.zeros_like(image), torch.zeros_like(image), -torch.inf
    for step in range(steps + 1):
        change.requires_grad_(step < steps)
        with torch.set_grad_enabled(step < steps):
            loss = attack_loss(network, image + change, truth)
        if step and loss.item() > highest:
            worst, highest = change.detach(), loss.item()
        if step < steps:
            (gradient,) = torch.autograd.grad(loss, change)
            move = scale_to_rms(gradient, image, rms=2.5 * rms / steps)
            change = scale_to_rms(change.detach() + move, image, rms=rms)
    return worst


def attack_loss(network: Segmenter, image: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """What PGD makes large: Dice loss plus Bernoulli divergence of the truth, a scalar."""
    logits = network(image).float()
    return DICE(logits, truth) + bernoulli_divergence(truth, logits)


ATTACKS = {"random": random_change, "vat": vat_change, "pgd": pgd_change}
# random is there for comparison and is not counted
ADVERSARIES = ("vat", "pgd")
