# SPDX-License-Identifier: Apache-2.0
"""Random changes that treat modalities differently: contrast, mixture, a cut field of view, a missing modality."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import Compose, MapTransform, Randomizable, RandomizableTransform

from scripts.brats import MODALITIES


class EachModalityd(Randomizable, MapTransform):
    """Applies a random transform to each modality separately, with its own random numbers.

    MONAI's intensity transforms change all modalities alike, but a scanner sets the contrast of each independently.
    Background stays exactly 0, which noise and blur would change.

    Args:
        keys: keys of images (modalities, H, W, D).
        transform: transform of an image (1, H, W, D), such as MONAI's `RandHistogramShift`, or a `Compose` of several.
    """

    def __init__(
        self, keys: KeysCollection, transform: RandomizableTransform | Compose, allow_missing_keys: bool = False
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
            changed = torch.cat([torch.as_tensor(self.transform(modality[None])) for modality in item[key]])
            item[key] = changed * (item[key] != 0)
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


class RandModalityMixd(RandomizableTransform, MapTransform):
    """Mixes one modality with another, like a sequence whose weighting lies between the two.

    x_i := (1 - a) x_i + a x_j, with random modalities i and j != i and a share a; background stays exactly 0.

    Args:
        keys: keys of images (modalities, H, W, D), all mixed alike.
        prob: probability of a mixture.
        max_share: largest share of the other modality.
    """

    def __init__(
        self, keys: KeysCollection, prob: float = 0.1, max_share: float = 0.4, allow_missing_keys: bool = False
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.max_share = max_share

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return item
        share = self.R.uniform(0, self.max_share)
        one, other = self.R.choice(len(MODALITIES), 2, replace=False)
        for key in self.key_iterator(item):
            image = item[key].clone()
            image[one] = ((1 - share) * item[key][one] + share * item[key][other]) * (item[key][one] != 0)
            item[key] = image
        return item


class RandMissingModalityd(RandomizableTransform, MapTransform):
    """Sets one or two modalities to exactly 0, as a modality that was not acquired is given to the network.

    Args:
        keys: keys of images (modalities, H, W, D), all changed alike.
        prob: probability that any is missing.
    """

    def __init__(self, keys: KeysCollection, prob: float = 0.1, allow_missing_keys: bool = False) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return item
        missing = self.R.choice(len(MODALITIES), self.R.randint(1, 3), replace=False)
        for key in self.key_iterator(item):
            item[key] = item[key].clone()
            item[key][missing] = 0
        return item
