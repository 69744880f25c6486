# SPDX-License-Identifier: Apache-2.0
"""Random changes that treat modalities differently: contrast of each, and a cut field of view of one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable, RandomizableTransform


class EachModalityd(Randomizable, MapTransform):
    """Applies a random transform to each modality separately, with its own random numbers.

    MONAI's intensity transforms change all modalities alike, but a scanner sets the contrast of each independently.

    Args:
        keys: keys of images (modalities, H, W, D).
        transform: transform of an image (1, H, W, D), such as MONAI's `RandHistogramShift`.
    """

    def __init__(
        self, keys: KeysCollection, transform: RandomizableTransform, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = transform

    def set_random_state(self, seed: int | None = None, state: np.random.RandomState | None = None) -> EachModalityd:
        """Seeds the transform."""
        self.transform.set_random_state(seed, state)
        return self

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            item[key] = torch.cat([self.transform(modality[None]) for modality in item[key]])
        return item


class RandFieldOfViewd(RandomizableTransform, MapTransform):
    """Sets one side of one modality to 0, like a scan that did not cover the whole brain.

    Modality, axis, side and size of the cut are random. BraTS has such cases, and a segmenter that never saw one takes
    the strip for tumour.

    Args:
        keys: keys of images (modalities, H, W, D), all cut alike.
        prob: probability of a cut.
        max_fraction: largest fraction of an axis that is cut off.
    """

    def __init__(
        self, keys: KeysCollection, prob: float = 0.1, max_fraction: float = 0.4, allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.max_fraction = max_fraction

    def randomize(self, data: Any = None) -> None:
        """Draws whether to cut, and if so where and how much."""
        super().randomize(data)
        if self._do_transform:
            self.modality, self.axis, self.at_end = self.R.rand(), self.R.randint(3), self.R.randint(2)
            self.fraction = self.R.uniform(0, self.max_fraction)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        self.randomize()
        for key in self.key_iterator(item) if self._do_transform else ():
            image = item[key].clone()
            cut = image[int(self.modality * len(image))].movedim(self.axis, 0)
            size = round(self.fraction * len(cut))
            cut[len(cut) - size if self.at_end else 0 : len(cut) if self.at_end else size] = 0
            item[key] = image
        return item
