# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import nn

from scripts.base.errors import BundleError
from scripts.base.settings import HALVINGS


class BrainInferer(SlidingWindowInferer):
    """Runs the network on the whole brain box up to a size, and on a sliding window beyond, or where it is too thin.

    The whole box is several times faster. A window of the training's patch size is truer to what GroupNorm, whose
    statistics run over all that the network sees, met in training.

    Args:
        max_whole_brain_voxels: the largest box, in voxels, that is run whole.
        roi_size: the window's size in voxels.
        overlap: of neighbouring windows, which are blended by a Gaussian.
    """

    def __init__(self, *, max_whole_brain_voxels: int, roi_size: Sequence[int], overlap: float = 0.5) -> None:
        super().__init__(roi_size=roi_size, overlap=overlap, mode="gaussian")
        self.max_whole_brain_voxels = max_whole_brain_voxels

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Gives the network's output for images (B, modalities, H, W, D)."""
        shape = inputs.shape[2:]
        if min(shape) >= HALVINGS and math.prod(shape) <= self.max_whole_brain_voxels:
            return network(inputs, *args, **kwargs)
        return super().__call__(inputs, network, *args, **kwargs)


class AveragingInferer(Inferer):
    """Averages the probabilities of several networks, and of flipped images; plain inference with neither.

    Args:
        inferer: that runs one network on one image.
        flips: axes of (H, W, D), each flipped by itself and predicted besides the image as it is.
        others: networks besides the one that is given at the call.

    Raises:
        BundleError: when an axis is not 0, 1 or 2.
    """

    def __init__(self, inferer: Inferer, *, flips: Sequence[int] = (), others: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        if not set(flips) <= {0, 1, 2}:
            raise BundleError(f"flips is {list(flips)}; allowed are the axes 0 (left-right), 1 and 2, such as [0].")
        self.inferer = inferer
        self.flips = tuple(flips)
        self.others = tuple(others)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Gives logits for images (B, modalities, H, W, D): the mean probability's where there is one to take."""
        networks, views = (network, *self.others), [(), *((axis + 2,) for axis in self.flips)]
        if len(networks) * len(views) == 1:
            return self.inferer(inputs, network, *args, **kwargs)
        total = sum(
            self.inferer(inputs.flip(view), one, *args, **kwargs).flip(view).float().sigmoid()
            for one in networks
            for view in views
        )
        # within float32's reach of 0 and 1, so that no logit is infinite
        return (total / (len(networks) * len(views))).logit(eps=1e-6)
