# SPDX-License-Identifier: Apache-2.0
"""The critic's confidence in a prediction, voxel by voxel, and how it is resampled."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from scripts.method.networks import VolumetricCritic


class CriticConfidenced(MapTransform):
    """Adds the critic's confidence in a prediction: the probability that it is right, for each region and voxel.

    Args:
        keys: keys of predicted probabilities (regions, H, W, D) at the working resolution.
        critic: the trained critic, see `VolumetricCritic.confidence`.
        image_key: key of the preprocessed image (modalities, H, W, D) from which the prediction was made.
        output_key: key of the map (regions, H, W, D) in [0, 1].
    """

    def __init__(
        self,
        keys: KeysCollection,
        critic: VolumetricCritic,
        *,
        image_key: str = "image",
        output_key: str = "confidence",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.critic = critic
        self.image_key = image_key
        self.output_key = output_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        self.critic.eval()
        for key in self.key_iterator(item):
            with torch.no_grad():
                item[self.output_key] = self.critic.confidence(item[key][None], item[self.image_key][None])[0]
        return item


class SwapConfidenced(MapTransform):
    """Exchanges the confidence c in a prediction p for the probability r of the region, or r for c.

    r = c where p > 0.5, and 1 - c elsewhere; the same rule leads back. Only r may be interpolated: c is large on both
    sides of a boundary, so that values between two voxels would be large where the prediction changes sides, which is
    where the critic doubts most.

    Args:
        keys: keys of confidences, or of probabilities of regions, (regions, H, W, D).
        prediction_key: key of the predicted probabilities (regions, H, W, D) in the same resolution.
    """

    def __init__(self, keys: KeysCollection, *, prediction_key: str = "pred", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.prediction_key = prediction_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            predicted = torch.as_tensor(item[self.prediction_key]).as_subclass(torch.Tensor) > 0.5
            item[key] = torch.where(predicted, item[key], 1 - item[key])
        return item
