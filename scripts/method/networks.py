# SPDX-License-Identifier: Apache-2.0
"""The critic network, and the initial bias of the segmenter."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import BasicUNet
from torch import nn
from torch.nn.functional import interpolate

from scripts.base.errors import BundleError


class VolumetricCritic(nn.Sequential):
    """The critic psi of Eq. 5: for every voxel and region of a mask, a logit that it belongs to a true mask.

    Four 3x3x3 convolutions of stride 1 (Section 4.1 of the paper); the first three are followed by BatchNorm and
    LeakyReLU(0.2). The last one has neither norm nor activation: either would hide the difference between real and
    predicted masks, and the losses take logits.

    With a stride of 2 the critic is about eight times cheaper: its first convolution halves the resolution, with a
    4x4x4 kernel that is centred between the voxels it merges, and the logits are interpolated back.

    Args:
        regions: number of input and output channels, one per region.
        channels: output channels of the first three convolutions.
        stride: of the first convolution, 1 or 2.

    Raises:
        ValueError: if `channels` does not have three entries or the stride is neither 1 nor 2.
    """

    def __init__(self, *, regions: int = 3, channels: Sequence[int] = (16, 32, 64), stride: int = 1) -> None:
        if stride not in (1, 2):
            raise ValueError(f"critic_stride is {stride}; allowed are 1 and 2.")
        if len(channels) != 3:
            raise ValueError(f"channels: the critic has three hidden convolutions, got {len(channels)}: {channels}.")
        options: dict[str, Any] = {
            "act": ("leakyrelu", {"negative_slope": 0.2, "inplace": True}),
            "norm": "batch",
            "bias": False,
        }
        first = Convolution(3, regions, channels[0], strides=stride, kernel_size=stride + 2, padding=1, **options)
        hidden = [Convolution(3, i, o, **options) for i, o in itertools.pairwise(channels)]
        super().__init__(first, *hidden, Convolution(3, channels[-1], regions, conv_only=True))

    def forward(self, mask: torch.Tensor) -> torch.Tensor:
        """Returns logits, positive where the mask looks true.

        Args:
            mask: binary regions or probabilities in [0, 1], (B, regions, H, W, D).

        Returns:
            Logits of the same shape.
        """
        logits = super().forward(mask)
        if logits.shape == mask.shape:
            return logits
        return interpolate(logits, size=mask.shape[2:], mode="trilinear")


def with_initial_foreground_probability(segmenter: BasicUNet, probability: float | None) -> BasicUNet:
    """Sets the bias of the segmenter's last layer so that, untrained, it predicts `probability` in every voxel.

    A tumour fills a few per cent of a brain. A network that starts at 0.5 spends its first hundreds of steps on
    learning that; the bias log(p / (1 - p)) states it from the start (Lin et al. 2017, Section 3.3).

    Args:
        segmenter: network whose last layer is `final_conv`; changed in place.
        probability: in (0, 1), or None to keep PyTorch's initial bias.

    Returns:
        The same segmenter.

    Raises:
        BundleError: if the probability is outside (0, 1).
    """
    if probability is None:
        return segmenter
    if not 0 < probability < 1:
        raise BundleError(
            f"initial_foreground_probability is {probability}; allowed are numbers between 0 and 1, or null."
        )
    torch.nn.init.constant_(segmenter.final_conv.bias, math.log(probability / (1 - probability)))
    return segmenter
