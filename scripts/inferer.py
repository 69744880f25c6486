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

import math
from collections.abc import Sequence
from typing import Any

import torch
from monai.inferers import SlidingWindowInferer


class BrainInferer(SlidingWindowInferer):
    """Runs the network on the whole brain box up to a size, and on a sliding window beyond.

    The whole box is several times faster. A window of the training's patch size is truer to what GroupNorm, whose
    statistics run over all that the network sees, met in training.

    Args:
        whole_voxels: the largest box, in voxels, that is run whole.
        roi_size: the window's size in voxels.
        overlap: of neighbouring windows, which are blended by a Gaussian.
    """

    def __init__(self, *, whole_voxels: int, roi_size: Sequence[int], overlap: float = 0.5) -> None:
        super().__init__(roi_size=roi_size, overlap=overlap, mode="gaussian")
        self.whole_voxels = whole_voxels

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> Any:
        """Gives the network's output for images (B, modalities, H, W, D)."""
        if math.prod(inputs.shape[2:]) <= self.whole_voxels:
            return network(inputs, *args, **kwargs)
        return super().__call__(inputs, network, *args, **kwargs)
