# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from monai.networks.blocks import Convolution
from monai.networks.nets import BasicUNet
from torch import nn

from scripts.base.errors import BundleError


class VolumetricCritic(nn.Sequential):
    """Judges a mask voxel by voxel: is this region's voxel part of a true mask, or of a predicted one?

    Four 3x3x3 convolutions of stride 1, as in Section 4.1 of the paper, with BatchNorm and LeakyReLU(0.2) after the
    first three. The last one is plain: a norm or an activation on the logits would hide real from fake.

    Args:
        regions: number of channels of the mask, and of the judgement.
        channels: output channels of the first three convolutions.
    """

    def __init__(self, *, regions: int = 3, channels: Sequence[int] = (16, 32, 64)) -> None:
        if len(channels) != 3:
            raise ValueError(f"channels: the critic has three hidden convolutions, got {len(channels)}: {channels}.")
        widths = [regions, *channels]
        hidden = [
            Convolution(3, i, o, act=("leakyrelu", {"negative_slope": 0.2, "inplace": True}), norm="batch", bias=False)
            for i, o in itertools.pairwise(widths)
        ]
        super().__init__(*hidden, Convolution(3, widths[-1], regions, conv_only=True))

    def forward(self, mask: torch.Tensor) -> torch.Tensor:
        """Gives logits (B, regions, H, W, D), positive where the mask in [0, 1] of that shape looks true."""
        return super().forward(mask)


def with_initial_foreground_probability(segmenter: BasicUNet, probability: float | None) -> BasicUNet:
    """Lets an untrained segmenter predict every region with this probability everywhere, and returns it.

    A tumour is a few per cent of a brain. A network that starts from one half spends its first hundreds of steps on
    learning just that; the bias of its last layer can say it at once (Lin et al. 2017, Section 3.3).

    Args:
        segmenter: whose last layer is `final_conv`.
        probability: in (0, 1), or None to leave the usual initial weights.

    Raises:
        BundleError: when the probability is out of its range.
    """
    if probability is None:
        return segmenter
    if not 0 < probability < 1:
        raise BundleError(
            f"initial_foreground_probability is {probability}; allowed are probabilities between 0 and 1, or null."
        )
    torch.nn.init.constant_(segmenter.final_conv.bias, math.log(probability / (1 - probability)))
    return segmenter
