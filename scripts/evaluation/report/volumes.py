# SPDX-License-Identifier: Apache-2.0
"""Volumes of a case as people view them, read from its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from monai.config import PathLike
from monai.data import MetaTensor
from monai.transforms import Compose, LoadImaged, Orientationd, SpatialCrop
from monai.transforms.utils import generate_spatial_bounding_box

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.transforms import BratsLabeld, LoadScansd


@dataclass(frozen=True)
class CaseVolumes:
    """Volumes of a case in the input's resolution, cropped to the brain, axes to the right, anterior and superior.

    Attributes:
        case: id of the case.
        image: (4, H, W, D) uint8, T1, T1ce, T2, FLAIR; 0 outside the brain, 1 to 255 inside.
        prediction: label map (H, W, D) uint8 of 0, 1, 2, 4.
        truth: true label map in the same form, or None.
        confidence: the critic's (3, H, W, D) uint8 in per cent, 0 outside the brain, 1 to 100 inside, or None.
        affine: (4, 4), from voxels of these arrays to mm.
        start: number of voxels cropped at the start of each axis.
        size: number of voxels of each axis before cropping.
    """

    case: str
    image: np.ndarray
    prediction: np.ndarray
    truth: np.ndarray | None
    confidence: np.ndarray | None
    affine: np.ndarray
    start: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def spacing(self) -> np.ndarray:
        """Voxel size in mm along each axis."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)

    @property
    def focus(self) -> tuple[int, int, int]:
        """Centre voxel of the largest axial plane of the true tumour, or the predicted one, or the brain."""
        masks = [mask for mask in (self.truth, self.prediction) if mask is not None and mask.any()]
        mask: np.ndarray = masks[0] > 0 if masks else self.image.max(axis=0) > 0
        index = int(mask.sum(axis=(0, 1)).argmax())
        right, front = np.argwhere(mask[..., index]).mean(axis=0).round().astype(int)
        return int(right), int(front), index


def load_volumes(item: Item, output_dir: PathLike, *, levels: int = 256, confidence: bool = True) -> CaseVolumes:
    """Reads the scans and the truth of a case, and the label map and confidence that inference has written.

    Args:
        item: item of the evaluation's dataset; `label` may be missing.
        output_dir: folder of `<case>_seg.nii.gz` and, optionally, `<case>_confidence.nii.gz`.
        levels: number of grey levels; fewer take less space when compressed.
        confidence: whether to read the confidence.

    Raises:
        BundleError: if the label map is missing, a file cannot be read, or grids differ.
    """
    segmentation = Path(output_dir) / f"{item['case']}_seg.nii.gz"
    if not segmentation.is_file():
        raise BundleError(f"{segmentation}: not found; let the evaluation save label maps, or set `html: false`.")
    files: dict[str, Any] = {**item, "prediction": segmentation}
    certainty = Path(output_dir) / f"{item['case']}_confidence.nii.gz"
    if confidence and certainty.is_file():
        files["confidence"] = certainty
    volumes = _load(files)
    image = volumes["image"]
    start, end = generate_spatial_bounding_box(image, lambda x: x != 0, margin=2, allow_smaller=True)
    size = tuple(image.shape[1:])
    kept = [key for key in _KEYS if key in volumes]
    for key in kept:
        if volumes[key].shape[1:] != size:
            raise BundleError(
                f"{key} of {item['case']}: found a grid {tuple(volumes[key].shape[1:])}, scans are {size}; "
                "evaluate into a new folder."
            )
    cut = SpatialCrop(roi_start=start, roi_end=end)
    cropped = {key: cast(MetaTensor, cut(volumes.pop(key))) for key in kept}
    arrays = {key: volume.numpy() for key, volume in cropped.items()}
    brain = (arrays["image"] != 0).any(axis=0)
    prediction, truth = (_to_labels(arrays.get(key)) for key in ("prediction", "label"))
    assert prediction is not None
    percent = np.rint(arrays["confidence"] * 100).clip(1, 100) * brain if "confidence" in arrays else None
    return CaseVolumes(
        case=str(item["case"]),
        image=np.stack([to_grey(modality, levels=levels) for modality in arrays["image"]]),
        prediction=prediction,
        truth=truth,
        confidence=None if percent is None else percent.astype(np.uint8),
        affine=cropped["image"].affine.numpy(),
        start=tuple(int(index) for index in start),
        size=size,
    )


def to_grey(modality: np.ndarray, *, levels: int) -> np.ndarray:
    """Returns a scan (H, W, D) as uint8: 1 to 255 from the 0.5th to the 99.5th percentile of the brain, 0 outside."""
    brain = modality != 0
    if not brain.any():
        return np.zeros(modality.shape, np.uint8)
    low, high = np.percentile(modality[brain], [0.5, 99.5])
    share = ((modality - low) / max(high - low, 1e-6)).clip(0, 1)
    steps = np.rint(share * (levels - 2)) / (levels - 2)
    return np.where(brain, np.rint(1 + steps * 254), 0).astype(np.uint8)


_KEYS = ("image", "label", "prediction", "confidence")


def _load(files: Mapping[str, Any]) -> dict[str, MetaTensor]:
    transforms = [
        LoadScansd("image"),
        LoadImaged(["label", "prediction", "confidence"], ensure_channel_first=True, allow_missing_keys=True),
        BratsLabeld("label", allow_missing_keys=True),
        Orientationd(_KEYS, axcodes="RAS", labels=None, allow_missing_keys=True),
    ]
    kept = (*_KEYS, "case", "layout", "channels", "values", "missing")
    return Compose(transforms)({key: value for key, value in files.items() if key in kept})


def _to_labels(array: np.ndarray | None) -> np.ndarray | None:
    if array is None:
        return None
    labels = array[0].astype(np.uint8)
    labels[labels == 3] = 4  # enhancing tumour as BraTS 2023 numbers it
    return labels
