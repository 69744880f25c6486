# SPDX-License-Identifier: Apache-2.0
"""Random patches, of which a share is centred on tumour."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

import torch
from monai.config import KeysCollection
from monai.transforms import RandSpatialCrop, RandSpatialCropd, SpatialCrop
from monai.utils import CommonKeys as Keys


class RandPatchd(RandSpatialCropd):
    """MONAI's `RandSpatialCropd` of one size, with a share of the patches centred on a voxel of any region.

    Near the border of the volume, the centre moves so that the patch lies inside. Items without a label or a tumour
    have patches anywhere.

    Args:
        keys: keys of images (channels, H, W, D), at least as large as a patch.
        roi_size: voxels of a patch along each axis.
        tumour_share: share of the patches centred on tumour.
    """

    def __init__(
        self,
        keys: KeysCollection,
        roi_size: Sequence[int],
        tumour_share: float = 0.0,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, roi_size, random_size=False, allow_missing_keys=allow_missing_keys)
        self.patch = torch.tensor(roi_size)
        self.tumour_share = tumour_share
        self._label: torch.Tensor | None = None

    def randomize(self, img_size: Sequence[int]) -> None:
        """Draws the place of a patch."""
        super().randomize(img_size)
        if self._label is None or self.R.rand() >= self.tumour_share:
            return
        tumour = torch.as_tensor(self._label).any(dim=0).nonzero()
        if len(tumour):
            room = torch.tensor(img_size) - self.patch
            start = tumour[self.R.randint(len(tumour))] - self.patch // 2
            start = start.clamp(min=torch.zeros_like(room), max=room)
            cropper = cast(RandSpatialCrop, self.cropper)
            cropper._slices = SpatialCrop.compute_slices(roi_start=start, roi_end=start + self.patch)

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        self._label = data.get(Keys.LABEL) if self.tumour_share else None
        return super().__call__(data, lazy)
