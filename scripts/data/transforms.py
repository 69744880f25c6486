# SPDX-License-Identifier: Apache-2.0
"""Transforms from a case's files to the network's input: loading, label values, spacing and intensity."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.data.utils import affine_to_spacing
from monai.transforms import LoadImage, MapTransform, Spacingd
from monai.utils import ImageMetaKey, ensure_tuple

from scripts.base.errors import BundleError, one_line
from scripts.brats import MODALITIES, MSD_CHANNELS
from scripts.data.background import check_skull, find_background, share_outline
from scripts.data.discovery import find_cases
from scripts.data.file_names import parse_path, refuse_name
from scripts.data.label_meaning import tissues_of
from scripts.data.oddities import warn_of_oddities, warn_once

WORDS = {2: "two", 3: "three", 4: "four"}
MISSING = "missing_modalities"  # in the metadata of an image, and of what is predicted from it


class LoadScansd(MapTransform):
    """Loads a case's modalities as one image (4, H, W, D) in the order T1, T1ce, T2, FLAIR.

    The image of an `Item` is a list: four files (any format of NiBabel or ITK), four folders of DICOM series, or one 4D
    file. Items from elsewhere may also give a path alone: of a 4D file, or of the folder of one case. The channels of a
    4D file are in the order T1, T1ce, T2, FLAIR, unless the item's `channels` tell their positions, or its layout is
    `msd`, the order of the Medical Segmentation Decathlon. The case's id names the output files; an item without `case`
    gets it from the names of its folder or files. A modality that the item lists as `missing` is exactly 0 everywhere,
    and the image's metadata `MISSING` names it.

    Args:
        keys: keys of the images.
        layout_key: key of the item's layout, which may be absent.

    A background that is constant or nearly so, but not 0, is set to 0 with a warning.

    Raises:
        BundleError: when the files do not make up four modalities of one shape, a folder is not of one case, the case's
            id cannot name a file, or a modality shows more than a brain.
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
            if odd := refuse_name(item["case"]):  # a name must not lead out of the output folder
                raise BundleError(f"{one_line(source)}: {odd}")
            paths, missing = _paths_of(source), item.pop("missing", [])  # which not every case of a batch has
            image = self._load(paths, count=len(MODALITIES) - len(missing))
            channels = item.pop("channels", MSD_CHANNELS if item.get(self.layout_key) == "msd" else None)
            if len(paths) == 1 and channels:
                image = cast(MetaTensor, image[channels])
            names = _names_of(paths, missing)
            _clear_background(image, names)
            warn_of_oddities(image.numpy(), names)
            if missing:
                image = _with_missing(image, missing)
                image.meta[MISSING] = ", ".join(missing)
            place = Path(str(image.meta[ImageMetaKey.FILENAME_OR_OBJ]))
            image.meta[ImageMetaKey.FILENAME_OR_OBJ] = os.fspath(place.with_name(f"{item['case']}.nii.gz"))
            item[key] = image
        return item

    def _load(self, paths: Sequence[str], *, count: int) -> MetaTensor:
        # One by one, because MONAI refuses a list of files whose affines differ by as little as rounding.
        images: list[torch.Tensor] = [self._load_file(path) for path in paths]
        for path, image in zip(paths, images):
            if image.shape != images[0].shape:
                shape, expected = tuple(image.shape[1:]), tuple(images[0].shape[1:])
                raise BundleError(
                    f"{one_line(path)}: shape {shape}, but that of the first modality is {expected}; "
                    "resample them to one grid"
                )
        image = cast(MetaTensor, torch.cat(images))
        if image.shape[0] != count or image.ndim != 4:
            raise BundleError(
                f"{one_line(paths)} holds {tuple(image.shape)} values; {WORDS[count]} 3D modalities are needed."
            )
        return image

    def _load_file(self, path: str) -> MetaTensor:
        try:
            return self.load(path)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise BundleError(f"cannot read {one_line(path)}: {one_line(reason)}; copy it again") from error


class BratsLabeld(MapTransform):
    """Maps a label map (1, H, W, D) of any layout to BraTS 2021's values: 1 core, 2 oedema, 4 enhancing tumour.

    The item's `values` or its `layout` tell the meaning, by default BraTS 2021's. Values are rounded to whole numbers.

    Args:
        keys: keys of the label maps.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            found = item[key].reshape(item[key].shape[:4]).round()  # axes of one voxel may follow
            label = torch.zeros_like(found)
            for value, tissue in tissues_of(item).items():
                label[found == value] = tissue
            item[key] = label
        item.pop("values", None)  # not every case of a batch has them
        return item


class IsolatedSpacingd(Spacingd):
    """MONAI's `Spacingd`, given its own keys only: it takes any `<key>_*`, such as MONAI Label's path, for metadata."""

    def __call__(self, data: Mapping[Hashable, Any], lazy: bool | None = None) -> dict[Hashable, Any]:
        return dict(data) | super().__call__({key: data[key] for key in self.key_iterator(dict(data))}, lazy)


class ScaleBrainIntensityd(MapTransform):
    """Clips each modality to percentiles of its brain voxels and scales it to [0, 1]; background stays exactly 0.

    In the brain y = clip((x - p_l) / (p_u - p_l), 0, 1), where p_l and p_u are percentiles of the modality's nonzero
    voxels (Section 4.1 of the paper, restricted to the brain: percentiles of the whole volume would depend on how much
    air surrounds the head). A brain with one value becomes 1. The transform is not invertible; `Invertd` skips it.

    Args:
        keys: keys of images (modalities, H, W, D), skull-stripped, background 0.
        lower: percentile that is mapped to 0.
        upper: percentile that is mapped to 1.
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
            image = item[key].cpu().clone()
            for modality in image.numpy():
                self._scale(modality)
            item[key] = image.to(item[key].device)
        return item

    def _scale(self, modality: np.ndarray) -> None:
        """Scales a modality in place; NumPy, whose masks are faster and whose percentile takes any number of voxels."""
        brain = modality != 0
        if not brain.any():
            return
        values = torch.from_numpy(modality[brain])
        low, high = np.percentile(values.numpy(), [self.lower, self.upper])
        # scaling a brain with one value would leave nothing to crop to
        scaled = torch.ones_like(values) if low == high else ((values - low) / (high - low)).clamp(0, 1)
        modality[brain] = scaled.numpy()


def _names_of(paths: Sequence[str], missing: Sequence[str]) -> list[str]:
    """Returns what to call each modality that is there: its file, and which it is."""
    present = [modality for modality in MODALITIES if modality not in missing]
    return [one_line(f"{paths[index % len(paths)]} ({modality})") for index, modality in enumerate(present)]


def _with_missing(image: MetaTensor, missing: Sequence[str]) -> MetaTensor:
    whole = MetaTensor(image.new_zeros(len(MODALITIES), *image.shape[1:]), meta=image.meta)
    whole[[index for index, modality in enumerate(MODALITIES) if modality not in missing]] = image
    return whole


def _clear_background(image: MetaTensor, names: Sequence[str]) -> None:
    spacing = affine_to_spacing(image.affine).tolist()
    found = []
    for name, modality in zip(names, image.numpy(), strict=True):
        try:
            check_skull(modality, spacing)
            found.append(find_background(modality))
        except BundleError as error:
            raise BundleError(f"{name}: {error}") from error
    for name, modality, background in zip(names, image.numpy(), share_outline(found)):
        if background.found and not background.mask.all():
            warn_once(f"{name}: {background.found}; it is set to 0")
            modality[background.mask] = 0  # of the tensor's own memory


def _paths_of(source: str | os.PathLike | Sequence[str]) -> Sequence[str]:
    if not isinstance(source, (str, os.PathLike)):
        return source
    return _modalities_in(os.fspath(source)) if os.path.isdir(source) else [os.fspath(source)]


def _modalities_in(folder: str) -> list[str]:
    items = find_cases(folder, labels="ignored")
    if len(items) > 1:
        names = ", ".join(item["case"] for item in items[:3])
        raise BundleError(f"{folder}: holds {len(items)} cases ({names} ...); name the folder of one.")
    if "fault" in items[0]:
        raise BundleError(items[0]["fault"])
    return items[0]["image"]


def _case_of(source: str | os.PathLike | Sequence[str]) -> str:
    first = os.path.abspath(ensure_tuple(source)[0])
    is_case_folder = isinstance(source, (str, os.PathLike)) and os.path.isdir(first)
    return os.path.basename(first) if is_case_folder else parse_path(first).case
