# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from ignite import distributed as idist
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from scripts.base.distributed import total


class AdversarialLoss(nn.Module):
    """The segmenter's side of Eq. 5, non-saturating: BCE(psi(p), 1), small where the critic takes p for a true mask.

    Taken to the letter, the minimum over the segmenter of Eq. 5 would have it help the critic to find it out.

    Args:
        balanced: see `voxel_weights`.
    """

    def __init__(self, *, balanced: bool = False) -> None:
        super().__init__()
        self.balanced = balanced

    def forward(self, fake_logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Gives the mean over the critic's logits of the prediction; both are (B, regions, H, W, D)."""
        return _bce(fake_logits, 1.0, voxel_weights(label) if self.balanced else None)


class CriticLoss(nn.Module):
    """The critic's side of Eq. 5: BCE(psi(Y), 1) + BCE(psi(p), 0).

    Args:
        balanced: see `voxel_weights`.
    """

    def __init__(self, *, balanced: bool = False) -> None:
        super().__init__()
        self.balanced = balanced

    def forward(self, real_logits: torch.Tensor, fake_logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Gives the sum of both means over the critic's logits of truth and prediction, all (B, regions, H, W, D)."""
        weights = voxel_weights(label) if self.balanced else None
        return _bce(real_logits, 1.0, weights) + _bce(fake_logits, 0.0, weights)


def voxel_weights(label: torch.Tensor) -> torch.Tensor:
    """Weighs voxels so that tumour and background of each region count the same over a batch, that of all processes.

    A mask is mostly empty. Unweighted, that background rules the critic, and the cheapest way to please it is to
    predict nothing: what is missed of a tumour is too few voxels to be noticed.

    Args:
        label: binary regions (B, regions, H, W, D).

    Returns:
        Weights of the same shape, over the whole batch of mean 1; all 1 for a region that no sample has.
    """
    share = label.float().mean(dim=(0, 2, 3, 4), keepdim=True)
    share = total(share) / idist.get_world_size()
    weights = torch.where(label > 0.5, 0.5 / share, 0.5 / (1 - share))
    return torch.where((share > 0) & (share < 1), weights, torch.ones_like(weights))


def bernoulli_divergence(target: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """Eq. 4's divergence: KL_Bernoulli(target || sigmoid(logits)), the mean over samples, regions and voxels.

    Args:
        target: probabilities or binary regions in [0, 1] (B, regions, H, W, D), taken as a constant.
        logits: of the same shape; from logits, not probabilities, it stays finite however sure the network is.

    Returns:
        A scalar, 0 where both agree.
    """
    target = target.detach().to(logits.dtype)
    entropy = -(torch.xlogy(target, target) + torch.xlogy(1 - target, 1 - target)).mean()
    return binary_cross_entropy_with_logits(logits, target) - entropy


def _bce(logits: torch.Tensor, target: float, weights: torch.Tensor | None) -> torch.Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, target), weights)
