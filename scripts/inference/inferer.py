# SPDX-License-Identifier: Apache-2.0
"""Inferers: whole brain or sliding window, and averaging over networks and flips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import Inferer, SlidingWindowInferer
from torch import nn

from scripts.base.errors import BundleError
from scripts.base.settings import HALVINGS
from scripts.method.precision import at_least_float32


class BrainInferer(SlidingWindowInferer):
    """Runs the network on the whole brain box up to a size, and with a sliding window if it is larger or too thin.

    The whole box is several times faster. A window of the training's patch size is closer to training for GroupNorm,
    whose statistics are computed over the network's whole input.

    Args:
        max_whole_brain_voxels: size in voxels of the largest box that is run as a whole.
        roi_size: size of the window in voxels.
        overlap: overlap of neighbouring windows, which are blended with Gaussian weights.
        amp_dtype: precision of autocast on the image's device, or None; MONAI's evaluators know autocast on CUDA alone.
    """

    def __init__(
        self,
        *,
        max_whole_brain_voxels: int,
        roi_size: Sequence[int],
        overlap: float = 0.5,
        amp_dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(roi_size=roi_size, overlap=overlap, mode="gaussian")
        self.max_whole_brain_voxels = max_whole_brain_voxels
        self.amp_dtype = amp_dtype

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the network's output, of at least float32, for images (B, modalities, H, W, D)."""
        shape = inputs.shape[2:]
        whole = min(shape) >= HALVINGS and math.prod(shape) <= self.max_whole_brain_voxels
        with torch.autocast(inputs.device.type, dtype=self.amp_dtype, enabled=self.amp_dtype is not None):
            output: Any = (
                network(inputs, *args, **kwargs) if whole else super().__call__(inputs, network, *args, **kwargs)
            )
        return at_least_float32(output)


class AveragingInferer(Inferer):
    """Averages the probabilities of several networks and of flipped images.

    Args:
        inferer: inferer for one network and one image.
        flips: axes of (H, W, D); the image is predicted as it is and flipped along each of these axes.
        others: networks in addition to the one that is passed to the call.

    Raises:
        BundleError: if an axis is not 0, 1 or 2.
    """

    def __init__(self, inferer: Inferer, *, flips: Sequence[int] = (), others: Sequence[nn.Module] = ()) -> None:
        super().__init__()
        if not set(flips) <= {0, 1, 2}:
            raise BundleError(f"flips is {list(flips)}; allowed are the axes 0 (left-right), 1 and 2, such as [0].")
        self.inferer = inferer
        self.flips = tuple(flips)
        self.others = tuple(others)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns logits (of the mean probability, if several are averaged) for images (B, modalities, H, W, D)."""
        networks, views = (network, *self.others), [(), *((axis + 2,) for axis in self.flips)]
        if len(networks) * len(views) == 1:
            return self.inferer(inputs, network, *args, **kwargs)
        summed = sum(
            self.inferer(inputs.flip(view), one, *args, **kwargs).flip(view).float().sigmoid()
            for one in networks
            for view in views
        )
        # clamps the probability, so that no logit is infinite
        return (summed / (len(networks) * len(views))).logit(eps=1e-6)
