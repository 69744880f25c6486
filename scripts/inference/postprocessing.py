# SPDX-License-Identifier: Apache-2.0
"""Postprocessing of predicted regions: small components, nesting and the label map."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform
from scipy import ndimage

from scripts.base.errors import BundleError


class RemoveSmallRegionsd(MapTransform):
    """Removes components that are too small to be plausible from binary regions TC, WT, ET (3, H, W, D).

    MONAI's `RemoveSmallObjectsd` treats overlapping regions as one object, and so keeps small components.

    Args:
        keys: keys of the regions.
        min_enhancing: an enhancing tumour with fewer voxels in total becomes core; 0 keeps all.
        min_component: a 26-connected component of any region with fewer voxels is removed; 0 keeps all.
        allow_missing_keys: do not raise an error if a key is missing.

    Raises:
        BundleError: if a number of voxels is negative.
    """

    def __init__(
        self, keys: KeysCollection, *, min_enhancing: int = 0, min_component: int = 0, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        for name, voxels in (("min_enhancing", min_enhancing), ("min_component", min_component)):
            if voxels < 0:
                raise BundleError(f"{name} is {voxels}; allowed are numbers of voxels from 0 (keep all) upwards.")
        self.min_enhancing = min_enhancing
        self.min_component = min_component

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            core, whole, enhancing = regions = item[key].clone()
            if self.min_component > 0:
                for region in regions:
                    region *= torch.from_numpy(_large_components(region.cpu().numpy(), self.min_component)).to(region)
            if enhancing.sum() < self.min_enhancing:
                torch.maximum(core, enhancing, out=core)
                torch.maximum(whole, enhancing, out=whole)
                enhancing.zero_()
            item[key] = regions
        return item


class NestRegionsd(MapTransform):
    """Restricts inner regions to the outer ones: ET to TC, and both to WT.

    Without it, `RegionsToLabelsd` gives priority to the innermost region, which enlarges the outer ones.

    Args:
        keys: keys of binary regions TC, WT, ET (3, H, W, D).
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            core, whole, enhancing = item[key]
            core = core * whole
            item[key] = item[key].clone()
            item[key][0], item[key][2] = core, enhancing * core
        return item


class RegionsToLabelsd(MapTransform):
    """Converts overlapping regions TC, WT, ET (3, H, W, D) to a label map (1, H, W, D).

    Enhancing tumour takes priority over core, and core over oedema, so that every voxel keeps a label of each region
    that contains it.

    Args:
        keys: keys of binary regions.
        enhancing_label: value of enhancing tumour, 4 (BraTS up to 2021) or 3 (since 2023).
        allow_missing_keys: do not raise an error if a key is missing.

    Raises:
        BundleError: if `enhancing_label` is neither 3 nor 4.
    """

    def __init__(self, keys: KeysCollection, enhancing_label: int = 4, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        if enhancing_label not in (3, 4):
            raise BundleError(
                f"enhancing_label is {enhancing_label}; allowed are 4 (BraTS up to 2021) and 3 (since 2023)."
            )
        self.enhancing_label = enhancing_label

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            core, whole, enhancing = item[key] > 0.5
            label = torch.zeros_like(whole, dtype=torch.uint8)
            for region, value in ((whole, 2), (core, 1), (enhancing, self.enhancing_label)):
                label.masked_fill_(region, value)
            item[key] = label[None]
        return item


def _large_components(region: np.ndarray, voxels: int) -> np.ndarray:
    components, _ = ndimage.label(region > 0.5, structure=np.ones((3, 3, 3)))
    large = np.bincount(components.ravel()) >= voxels
    large[0] = False
    return large[components]
