# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import LoadImage, MapTransform, Spacingd
from monai.utils import ImageMetaKey, ensure_tuple
from torch import nn

from scripts.base.errors import BundleError, one_line
from scripts.brats import LABEL_VALUES, MSD_CHANNELS
from scripts.data.discovery import find_cases, parse_path, refuse_name

# values of (necrotic and non-enhancing core, oedema, enhancing tumour) in the label maps of each layout
# where T1, T1ce, T2 and FLAIR are among the channels of a 4D image (FLAIR, T1w, T1gd, T2w) of MSD Task01_BrainTumour


class LoadScansd(MapTransform):
    """Loads a case's modalities as one image (4, H, W, D) in the order T1, T1ce, T2, FLAIR.

    The item holds four files (any format of NiBabel or ITK), four folders of DICOM series, the folder of one case, or
    one 4D file. The channels of a 4D file are in the house order, unless the item's layout is `msd`: then they are in
    that of the Medical Segmentation Decathlon. The case's id names the output files; an item that has none gets `case`
    as the names of folder or files tell it.

    Args:
        keys: of the images.
        layout_key: of the item's layout, which an item may lack.

    Raises:
        BundleError: when the files do not make up four modalities of one shape, a folder is not of one case, or the
            case's id cannot name a file.
    """

    def __init__(self, keys: KeysCollection, layout_key: str = "layout", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.layout_key = layout_key
        self.load = LoadImage(image_only=True, ensure_channel_first=True)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            source = item[key]
            item.setdefault("case", _case_of(source))
            if odd := refuse_name(item["case"]):  # which must not lead out of the output folder
                raise BundleError(f"{one_line(source)}: {odd}")
            image = self._load(_modalities_in(source) if _is_folder(source) else source)
            if not isinstance(source, (list, tuple)) and item.get(self.layout_key) == "msd":
                image = cast(MetaTensor, image[list(MSD_CHANNELS)])
            place = Path(str(image.meta[ImageMetaKey.FILENAME_OR_OBJ]))
            image.meta[ImageMetaKey.FILENAME_OR_OBJ] = os.fspath(place.with_name(f"{item['case']}.nii.gz"))
            item[key] = image
        return item

    def _load(self, source: str | Sequence[str]) -> MetaTensor:
        # one by one, for MONAI refuses files together whose affines differ by so much as a rounding
        images: list[torch.Tensor] = [self._load_file(path) for path in ensure_tuple(source)]
        for path, image in zip(ensure_tuple(source), images):
            if image.shape != images[0].shape:
                shape, expected = tuple(image.shape[1:]), tuple(images[0].shape[1:])
                raise BundleError(f"{one_line(path)}: shape {shape}, but that of the first modality is {expected}")
        image = cast(MetaTensor, torch.cat(images))
        if image.shape[0] != 4 or image.ndim != 4:
            raise BundleError(f"{one_line(source)} holds {tuple(image.shape)} values; four 3D modalities are needed.")
        return image

    def _load_file(self, path: str) -> MetaTensor:
        try:
            return self.load(path)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise BundleError(f"cannot read {one_line(path)}: {one_line(reason)}") from error


class BratsLabeld(MapTransform):
    """Brings a label map (1, H, W, D) of any layout to BraTS 2021's values: 1 core, 2 oedema, 4 enhancing tumour.

    Args:
        keys: of the label maps.
        layout_key: of the item's layout, one of `LABEL_VALUES`.
    """

    def __init__(self, keys: KeysCollection, layout_key: str = "layout", allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.layout_key = layout_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            label = item[key].clone()
            values = LABEL_VALUES[item.get(self.layout_key, "brats2021")]
            for found, wanted in zip(values, LABEL_VALUES["brats2021"]):
                label[item[key] == found] = wanted
            item[key] = label
        return item


class IsolatedSpacingd(Spacingd):
    """MONAI's `Spacingd`, shown its own keys alone: it takes any `<key>_*`, as MONAI Label's path, for metadata."""

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        return dict(data) | super().__call__({key: data[key] for key in self.key_iterator(dict(data))}, lazy)


class ScaleBrainIntensityd(MapTransform):
    """Clips each modality to percentiles of its brain voxels and scales it to [0, 1]; background stays exactly 0.

    A brain of one value becomes 1.

    Section 4.1 of the paper, of brain voxels alone: the air around the head would decide the percentiles otherwise.
    It is not invertible, so that `Invertd` passes it by.

    Args:
        keys: of images (modalities, H, W, D), skull-stripped, background 0.
        lower: percentile that becomes 0.
        upper: percentile that becomes 1.
    """

    def __init__(
        self, keys: KeysCollection, lower: float = 1.0, upper: float = 99.0, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.lower = lower
        self.upper = upper

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            image = item[key].clone()
            for modality in image:
                modality.copy_(self._scale(modality))
            item[key] = image
        return item

    def _scale(self, modality: torch.Tensor) -> torch.Tensor:
        brain = modality != 0
        if not brain.any():
            return modality
        # NumPy, because torch.quantile takes at most 16 million values
        low, high = np.percentile(modality[brain].cpu().numpy(), [self.lower, self.upper])
        if low == high:  # a mask, say; of zeros nothing would be left to crop to
            return brain.to(modality)
        return ((modality - low) / (high - low)).clamp(0, 1) * brain


class CriticConfidenced(MapTransform):
    """Adds the critic's confidence map of a prediction: sigmoid(psi(p)), for each region and voxel.

    Args:
        keys: of predicted probabilities (regions, H, W, D) at the working resolution.
        critic: the trained critic.
        output_key: where the map (regions, H, W, D) in [0, 1] goes; near 1, the critic takes the voxel for true.
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


def _is_folder(source: str | Sequence[str]) -> bool:
    return isinstance(source, (str, os.PathLike)) and os.path.isdir(source)


def _modalities_in(folder: str) -> list[str]:
    items = find_cases(os.fspath(folder), labels=False)
    if len(items) > 1:
        names = ", ".join(item["case"] for item in items[:3])
        raise BundleError(f"{folder}: holds {len(items)} cases ({names} ...); name the folder of one.")
    if "fault" in items[0]:
        raise BundleError(items[0]["fault"])
    return items[0]["image"]


def _case_of(source: str | Sequence[str]) -> str:
    first = os.path.abspath(ensure_tuple(source)[0])
    return os.path.basename(first) if _is_folder(source) else parse_path(first)[0]
