# SPDX-License-Identifier: Apache-2.0
"""The adversarial losses of segmenter and critic (Eq. 5) and the divergence of VAT (Eq. 4), all from logits."""

from __future__ import annotations

import torch
from ignite import distributed as idist
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, max_pool3d

from scripts.base.distributed import sum_over_processes
from scripts.base.errors import BundleError
from scripts.method.precision import at_least_float32

JUDGEMENTS = ("source", "correctness")


class CriticLoss(nn.Module):
    """The critic's loss: the sum over masks m of mean_v w_v BCE(psi(m, x)_v, t(m)_v).

    psi are the critic's logits and BCE(z, t) = -t log sigmoid(z) - (1 - t) log(1 - sigmoid(z)), averaged over samples,
    regions and voxels v. With Y the true regions, the critic judges either

        the source (the paper's Eq. 5):  t(m) = 1 if m = Y, 0 otherwise
        the correctness:                 t(m)_v = 1 if [m_v > 0.5] = Y_v, 0 otherwise

    A critic of the source learns what tells predictions from true masks anywhere, above all that predictions are soft;
    a critic of the correctness learns where a mask is wrong, and its confidence is a probability of being right.

    Args:
        judges: "source" or "correctness".
        balanced: whether voxels are weighted, for the source with `voxel_weights`, for the correctness with
            `neighbourhood_weights`.

    Raises:
        BundleError: if `judges` is neither.
    """

    def __init__(self, *, judges: str = "source", balanced: bool = False) -> None:
        super().__init__()
        if judges not in JUDGEMENTS:
            raise BundleError(f"critic_judges is {judges}; allowed are {' and '.join(JUDGEMENTS)}.")
        self.judges = judges
        self.balanced = balanced

    def forward(self, logits: torch.Tensor, masks: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Returns the loss, a scalar.

        Args:
            logits: the critic's, for K masks of each sample, (K * B, regions, H, W, D).
            masks: binary regions or probabilities in [0, 1], of the same shape.
            label: true regions, (B, regions, H, W, D).
        """
        count = len(masks) // len(label)
        truth = label.repeat(count, 1, 1, 1, 1)
        return count * _bce(logits, self.target(masks, truth), self.weights(masks, truth))

    def target(self, masks: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        """Returns t(m) of masks and true regions of the same shape."""
        if self.judges == "correctness":
            return ((masks > 0.5) == (truth > 0.5)).to(masks.dtype)
        is_true = (masks == truth).flatten(1).all(dim=1)
        return is_true.to(masks.dtype).view(-1, 1, 1, 1, 1).expand_as(masks)

    def weights(self, masks: torch.Tensor, truth: torch.Tensor) -> torch.Tensor | None:
        """Returns w of masks and true regions of the same shape, None if all voxels count the same."""
        if not self.balanced:
            return None
        return voxel_weights(truth) if self.judges == "source" else neighbourhood_weights(masks, truth)


class AdversarialLoss(CriticLoss):
    """The segmenter's adversarial loss, non-saturating: L_adv = mean_v w_v BCE(psi(p, x)_v, 1), the critic frozen.

    p is the prediction. Under "source" the loss is small where the critic takes the prediction for a true mask (the
    paper's Eq. 5 is the critic's own loss; minimised over the segmenter as Eq. 1 has it, it would train the segmenter
    to help the critic). Under "correctness" the segmenter raises the critic's confidence that the prediction is right.

    The two games differ in what they reward. A critic of the source meets true masks that are 0/1 and mostly empty, so
    that a prediction comes closest to them, wherever it is doubtful, by vanishing: the game empties the mask. A critic
    of the correctness has the optimum psi(m, x)_v = logit P(Y_v = [m_v > 0.5] | x), and an empty mask has it say
    'wrong' wherever the image shows a tumour.

    Args:
        judges: "source" or "correctness".
        balanced: whether voxels are weighted as in `CriticLoss`.
    """

    def forward(self, logits: torch.Tensor, masks: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        """Returns the loss, a scalar, of logits and predictions as in `CriticLoss`; the label only gives weights."""
        return _bce(logits, torch.ones_like(logits), self.weights(masks.detach(), label))


def neighbourhood_weights(
    masks: torch.Tensor, truth: torch.Tensor, *, reach: int = 5, elsewhere: float = 0.05
) -> torch.Tensor:
    """Computes weights under which the voxels around a predicted or true region count most.

    They do not depend on which of the two holds a voxel, and so keep the critic's confidence a probability. Voxels far
    from both are nearly always right and would otherwise decide the loss.

    Args:
        masks: binary regions or probabilities, (B, regions, H, W, D).
        truth: true regions of the same shape.
        reach: size of the neighbourhood in voxels along each axis, to a voxel.
        elsewhere: weight of the other voxels relative to those around.

    Returns:
        Weights of the same shape, of mean 1 over the batches of all processes.
    """
    tumour = torch.maximum(masks, truth.to(masks.dtype)).gt(0.5).to(masks.dtype)
    # pooled at half the resolution, which is exact to a voxel and several times faster
    around = max_pool3d(tumour, 2, ceil_mode=True)
    for axis in range(3):
        window = [2 * (reach // 2) + 1 if a == axis else 1 for a in range(3)]
        around = max_pool3d(around, window, stride=1, padding=[w // 2 for w in window])
    around = around.repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
    around = around[..., : masks.shape[2], : masks.shape[3], : masks.shape[4]]
    weights = elsewhere + (1 - elsewhere) * around
    mean = sum_over_processes(weights.mean()) / idist.get_world_size()
    return weights / mean


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


def _bce(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return binary_cross_entropy_with_logits(logits, target.to(logits.dtype), weights)
