# SPDX-License-Identifier: Apache-2.0
"""The adversarial losses of segmenter and critic (Eq. 5) and the divergence of VAT (Eq. 4), all from logits."""

from __future__ import annotations

import torch
from ignite import distributed as idist
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from scripts.base.distributed import sum_over_processes
from scripts.method.precision import at_least_float32


class AdversarialLoss(nn.Module):
    """The segmenter's adversarial loss, the non-saturating form of Eq. 5: L_adv = mean_v BCE(psi(p)_v, 1).

    psi(p) are the critic's logits for the prediction p, and BCE(z, t) = -t log sigmoid(z) - (1 - t) log(1 - sigmoid(z))
    is averaged over samples, regions and voxels v. The loss is small where the critic takes the prediction for a true
    mask. (The paper's Eq. 5, -sum_v [(1 - eta) log psi(Y)_v + eta log(1 - psi(p)_v)], is the critic's own loss;
    minimised over the segmenter as Eq. 1 has it, it would train the segmenter to help the critic.)

    Args:
        balanced: whether to weight voxels with `voxel_weights`.
    """

    def __init__(self, *, balanced: bool = False) -> None:
        super().__init__()
        self.balanced = balanced

    def forward(self, fake_logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Returns the loss, a scalar.

        Args:
            fake_logits: the critic's logits for the prediction, (B, regions, H, W, D).
            label: true regions of the same shape, used for the weights only.
        """
        return _bce(fake_logits, 1.0, voxel_weights(label) if self.balanced else None)


class CriticLoss(nn.Module):
    """The critic's loss, Eq. 5 on logits: L_critic = mean_v BCE(psi(Y)_v, 1) + mean_v BCE(psi(p)_v, 0).

    Y is the true mask and p the prediction, both seen by the critic psi; BCE as in `AdversarialLoss`.

    Args:
        balanced: whether to weight voxels with `voxel_weights`.
    """

    def __init__(self, *, balanced: bool = False) -> None:
        super().__init__()
        self.balanced = balanced

    def forward(self, real_logits: torch.Tensor, fake_logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Returns the loss, a scalar.

        Args:
            real_logits: the critic's logits for the true mask, (B, regions, H, W, D).
            fake_logits: the critic's logits for the prediction, of the same shape.
            label: true regions of the same shape, used for the weights only.
        """
        weights = voxel_weights(label) if self.balanced else None
        return _bce(real_logits, 1.0, weights) + _bce(fake_logits, 0.0, weights)


def voxel_weights(label: torch.Tensor) -> torch.Tensor:
    """Computes weights under which foreground and background of each region count the same.

    With f the fraction of foreground voxels of a region over the batches of all processes, the weight is 0.5 / f in
    the foreground and 0.5 / (1 - f) in the background. A mask is mostly empty: without weights the background decides
    the critic's loss, and predicting nothing is the cheapest way to please the critic, because the voxels of a missed
    tumour are too few to matter.

    Args:
        label: binary regions, (B, regions, H, W, D).

    Returns:
        Weights of the same shape, of mean 1 in every region; all 1 for a region that is empty or full.
    """
    fraction = at_least_float32(label).mean(dim=(0, 2, 3, 4), keepdim=True)
    fraction = sum_over_processes(fraction) / idist.get_world_size()
    weights = torch.where(label > 0.5, 0.5 / fraction, 0.5 / (1 - fraction))
    return torch.where((fraction > 0) & (fraction < 1), weights, torch.ones_like(weights))


def bernoulli_divergence(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Computes the divergence of Eq. 4, D_KL(T || sigmoid(z)), the mean over samples, regions and voxels.

    D_KL(t || p) = t log(t / p) + (1 - t) log((1 - t) / (1 - p)) is the Kullback-Leibler divergence of two Bernoulli
    distributions. It is computed from logits, as BCE(z, t) - H(t), and so stays finite for any logit.

    Args:
        target: T, binary regions or probabilities in [0, 1], (B, regions, H, W, D); no gradient flows into it.
        logits: z, of the same shape.

    Returns:
        A scalar, 0 where both agree.
    """
    target = target.detach().to(logits.dtype)
    entropy = -(torch.xlogy(target, target) + torch.xlogy(1 - target, 1 - target)).mean()
    return binary_cross_entropy_with_logits(logits, target) - entropy


def _bce(logits: torch.Tensor, target: float, weights: torch.Tensor | None) -> torch.Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target), weights)
