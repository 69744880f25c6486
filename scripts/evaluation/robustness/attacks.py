# SPDX-License-Identifier: Apache-2.0
"""Perturbations of an image with a given RMS: random, VAT's, and projected gradient ascent."""

from __future__ import annotations

from collections.abc import Callable

import torch
from monai.losses import DiceLoss

from scripts.method.losses import bernoulli_divergence
from scripts.method.vat import adversarial_direction, scale_to_rms

Segmenter = Callable[[torch.Tensor], torch.Tensor]  # returns logits
DICE = DiceLoss(sigmoid=True, smooth_nr=1, smooth_dr=1)


def random_change(
    network: Segmenter, image: torch.Tensor, truth: torch.Tensor, *, rms: float, seed: int
) -> torch.Tensor:
    """Returns a change in a random direction, independent of network and truth: the baseline of the attacks."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    return scale_to_rms(noise.to(image.device), image, rms=rms)


def vat_change(network: Segmenter, image: torch.Tensor, truth: torch.Tensor, *, rms: float, seed: int) -> torch.Tensor:
    """Returns the change that VAT trains against: one step along the gradient of the divergence of Eq. 4."""
    return adversarial_direction(network, image, truth, epsilon=rms)


def pgd_change(
    network: Segmenter, image: torch.Tensor, truth: torch.Tensor, *, rms: float, seed: int, steps: int = 8
) -> torch.Tensor:
    """Returns the change found by projected gradient ascent on the Dice loss plus the divergence of Eq. 4.

    Starting from no change, each step follows the gradient and is projected onto the sphere of the given RMS (Madry et
    al. 2018, "Towards deep learning models resistant to adversarial attacks"). The step with the highest loss counts.

    Args:
        network: returns logits (B, regions, H, W, D).
        image: (B, modalities, H, W, D), background exactly 0.
        truth: binary regions (B, regions, H, W, D).
        rms: root mean square of the change over brain voxels and modalities.
        seed: not used.
        steps: number of steps.

    Returns:
        The change, in the shape of the image, 0 outside the brain. The changed image may leave [0, 1], as in VAT.
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
    """Returns the loss that PGD maximises: Dice loss plus Bernoulli divergence from the truth, a scalar."""
    logits = network(image).float()
    return DICE(logits, truth) + bernoulli_divergence(truth, logits)


ATTACKS = {"random": random_change, "vat": vat_change, "pgd": pgd_change}
# the random change is a baseline and not counted
ADVERSARIES = ("vat", "pgd")
