# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits


class AdversarialLoss(nn.Module):
    """The segmenter's side of Eq. 5, non-saturating: BCE(psi(p), 1), small where the critic takes p for a true mask.

    Taken to the letter, the minimum over the segmenter of Eq. 5 would have it help the critic to find it out.
    """

    def forward(self, fake_logits: torch.Tensor) -> torch.Tensor:
        """Gives the mean over the critic's logits (B, regions, H, W, D) of the prediction."""
        return binary_cross_entropy_with_logits(fake_logits, torch.ones_like(fake_logits))


class CriticLoss(nn.Module):
    """The critic's side of Eq. 5: BCE(psi(Y), 1) + BCE(psi(p), 0)."""

    def forward(self, real_logits: torch.Tensor, fake_logits: torch.Tensor) -> torch.Tensor:
        """Gives the sum of both means over the critic's logits (B, regions, H, W, D) of truth and prediction."""
        real = binary_cross_entropy_with_logits(real_logits, torch.ones_like(real_logits))
        fake = binary_cross_entropy_with_logits(fake_logits, torch.zeros_like(fake_logits))
        return real + fake


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
