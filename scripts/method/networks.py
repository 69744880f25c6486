# SPDX-License-Identifier: Apache-2.0
"""The segmenter, its initial bias, and the critic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from monai.networks.blocks import Convolution
from monai.networks.layers import Norm
from monai.networks.nets import BasicUNet
from torch import nn

from scripts.base.errors import BundleError
from scripts.method.group_norm import PreciseGroupNorm
from scripts.method.precision import at_least_float32

Norm.add_factory_class("precise_group", PreciseGroupNorm)  # `norm: [precise_group, ...]` in a config

SIGHTS = ("mask", "image_and_mask")
# smallest probability that is told from 0, and largest from 1, so that logits stay below 9.3
CERTAIN = 1e-4


class Segmenter(BasicUNet):
    """MONAI's BasicUNet that takes its own weights only.

    MONAI Label's app for bundles loads any file of `models/` that a client names, without insisting on a match: with
    the critic's, the segmenter would stay as it was initialised and segment nonsense without an error.
    """

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Loads weights as `strict=True` does, whatever `strict` is.

        Raises:
            RuntimeError: if the weights are of another network.
        """
        return super().load_state_dict(state_dict, strict=True, assign=assign)


class VolumetricCritic(nn.Module):
    """The critic psi: for every voxel and region of a mask, a logit that the mask is right there.

    With m the mask, x the image, c four 3x3x3 convolutions (Section 4.1 of the paper; the first three are followed by
    BatchNorm and LeakyReLU(0.2)), U trilinear interpolation to the mask's size and z = logit(m) = log(m / (1 - m)):

        sees mask:             psi(m)    = U c(m)
        sees image_and_mask:   psi(m, x) = U c([m, x])
        starts from certainty: psi(m, x) = sign(z) E,    E = a z + b U c([z / 4, x])

    In the last form E is the critic's own opinion, a logit that the voxel belongs to the region: the segmenter's,
    corrected by the convolutions, of which the last one starts at 0. The mask is right as far as it is on the same
    side. The scales a and b are 1 in training; `scripts.tools.train_critic` then fits them on cases that neither
    network was trained on, so that sigmoid(psi) is a probability. For an untrained critic psi = |z|: a voxel with
    calibrated probability is right with probability sigmoid(|z|).

    A gradient with respect to the mask takes sign(z) for 2 m - 1, and so moves the mask towards E; it does not flow
    through the z in E, which would reward a segmenter for being certain instead of being right.

    The last convolution has neither norm nor activation: either would hide the difference between masks, and the
    losses take logits.

    Args:
        sees: "mask", or "image_and_mask".
        starts_from_certainty: whether the critic's opinion is the segmenter's, corrected.
        stride: of the first convolution; 2 makes the critic about eight times cheaper: it halves the resolution with a
            4x4x4 kernel that is centred between the voxels it merges.
        regions: number of regions of the mask, and of the output.
        modalities: number of channels of the image.
        channels: output channels of the first three convolutions.

    Raises:
        BundleError: if an argument is not one of those named above.
    """

    scales: torch.Tensor

    def __init__(
        self,
        *,
        sees: str = "mask",
        starts_from_certainty: bool = False,
        stride: int = 1,
        regions: int = 3,
        modalities: int = 4,
        channels: Sequence[int] = (16, 32, 64),
    ) -> None:
        super().__init__()
        if sees not in SIGHTS or stride not in (1, 2) or len(channels) != 3:
            raise BundleError(
                f"the critic got critic_sees {sees}, critic_stride {stride} and {len(channels)} hidden convolutions; "
                f"allowed are {' or '.join(SIGHTS)}, 1 or 2, and 3."
            )
        self.sees = sees
        self.starts_from_certainty = starts_from_certainty
        options: dict[str, Any] = {
            "act": ("leakyrelu", {"negative_slope": 0.2, "inplace": True}),
            "norm": "batch",
            "bias": False,
        }
        seen = regions + (modalities if sees == "image_and_mask" else 0)
        first = Convolution(3, seen, channels[0], strides=stride, kernel_size=stride + 2, padding=1, **options)
        hidden = [Convolution(3, i, o, **options) for i, o in itertools.pairwise(channels)]
        last = Convolution(3, channels[-1], regions, conv_only=True)
        if starts_from_certainty:
            for parameter in last.parameters():
                torch.nn.init.zeros_(parameter)
        self.layers = nn.Sequential(first, *hidden, last)
        self.register_buffer("scales", torch.ones(2))

    def forward(self, mask: torch.Tensor, image: torch.Tensor | None = None) -> torch.Tensor:
        """Returns logits, positive where the mask looks right.

        Args:
            mask: binary regions or probabilities in [0, 1], (B, regions, H, W, D).
            image: (B, modalities, H, W, D); not looked at by a critic that sees the mask alone.

        Returns:
            Logits of the mask's shape.
        """
        opinion = at_least_float32(mask).logit(eps=CERTAIN) if self.starts_from_certainty else None
        seen = mask if opinion is None else opinion / 4
        if self.sees == "image_and_mask":
            assert image is not None
            seen = torch.cat([seen, image.to(seen.dtype)], dim=1)
        logits = self.scales[1] * self.layers(seen)
        if logits.shape[2:] != mask.shape[2:]:
            logits = nn.functional.interpolate(logits, size=mask.shape[2:], mode="trilinear")
        if opinion is None:
            return logits
        soft_side = 2 * at_least_float32(mask) - 1
        side = soft_side + (torch.where(mask > 0.5, 1.0, -1.0) - soft_side).detach()
        return side * (self.scales[0] * opinion.detach() + logits)

    def confidence(self, mask: torch.Tensor, image: torch.Tensor | None = None) -> torch.Tensor:
        """Returns sigmoid(psi), the probability that the mask is right, of the mask's shape."""
        return at_least_float32(self(mask, image)).sigmoid()


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
