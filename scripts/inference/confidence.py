# SPDX-License-Identifier: Apache-2.0
"""The critic's confidence in a prediction, voxel by voxel."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from torch import nn


class CriticConfidenced(MapTransform):
    """Adds the critic's confidence map of a prediction p: sigmoid(psi(p)) for each region and voxel.

    Args:
        keys: keys of predicted probabilities (regions, H, W, D) at the working resolution.
        critic: the trained critic psi.
        output_key: key of the map (regions, H, W, D) in [0, 1]; near 1, the critic takes the voxel for true.
    """

    def __init__(
        self,
        keys: KeysCollection,
        critic: nn.Module,
        output_key: str = "confidence",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.critic = critic
        self.output_key = output_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        self.critic.eval()
        for key in self.key_iterator(item):
            with torch.no_grad():
                item[self.output_key] = self.critic(item[key][None])[0].sigmoid()
        return item
