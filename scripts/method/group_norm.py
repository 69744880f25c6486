# SPDX-License-Identifier: Apache-2.0
"""A GroupNorm whose statistics are right for whole brains on CPUs."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import group_norm


class PreciseGroupNorm(nn.GroupNorm):
    """GroupNorm that adds in blocks where PyTorch's adds value after value: y = gamma (x - m) / sqrt(v + eps) + beta.

    m and v are mean and variance over voxels and a group's channels. In the channels-last order of voxels, PyTorch
    2.13's kernel for CPUs adds up a group's values one by one, and over a whole brain its float32 sums are off so far
    that the segmenter's logits change by up to 0.6. Where gradients are needed, in half precision and on GPUs, this is
    PyTorch's own.

    Its name in MONAI's factory is `precise_group`; arguments and weights are those of `torch.nn.GroupNorm`.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Returns the normalised images.

        Args:
            input: (B, channels, H, W, D).
        """
        if not self._is_summed_value_by_value(input):
            return group_norm(input, self.num_groups, self.weight, self.bias, self.eps)
        values = input.movedim(1, -1).flatten(1, -2)  # (B, voxels, channels), without a copy
        values = values - self._mean_of_groups(values.mean(1, keepdim=True))
        variance = self._mean_of_groups(values.square().mean(1, keepdim=True))
        values = torch.addcmul(self.bias, values, self.weight * (variance + self.eps).rsqrt())
        return values.unflatten(1, input.shape[2:]).movedim(-1, 1)

    def _is_summed_value_by_value(self, image: torch.Tensor) -> bool:
        channels_last = image.is_contiguous(memory_format=torch.channels_last_3d) and not image.is_contiguous()
        return channels_last and image.is_cpu and image.dtype == torch.float32 and not torch.is_grad_enabled()

    def _mean_of_groups(self, of_channels: torch.Tensor) -> torch.Tensor:
        """Returns, for each channel, the mean over the channels of its group: (B, 1, channels), as it is given."""
        groups = of_channels.unflatten(2, (self.num_groups, -1))
        return groups.mean(3, keepdim=True).expand_as(groups).flatten(2)
