# SPDX-License-Identifier: Apache-2.0
"""Lesions of one patient placed into the brain of another (CarveMix)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.data import Dataset
from monai.transforms import RandomizableTransform
from monai.utils import CommonKeys as Keys
from scipy.ndimage import distance_transform_edt, find_objects

Box = tuple[slice, slice, slice]


class RandLesionMixd(RandomizableTransform):
    """Places the lesion of another patient, with its labels, into the brain (CarveMix, Zhang et al. 2021).

    A region R around the donor's lesion is carved out and replaces what was there: with images x, regions y, and the
    donor moved by `displacement`, x := x_donor in R, y := y_donor in R. Background stays exactly 0, and nothing comes
    from outside the donor's brain. The item's own lesion stays where R leaves it.

    Image (modalities, H, W, D) and label (regions, H, W, D) are whole brains on isotropic voxels, background 0. An item
    stays as it is if no donor is known to be another `patient`, or the donor has no lesion. arXiv:2108.06883

    Args:
        donors: data set of labelled items, prepared as this one.
        prob: probability of a lesion.
    """

    def __init__(self, donors: Dataset, prob: float) -> None:
        super().__init__(prob)
        self.donors = donors

    def randomize(self, data: Any = None) -> None:
        """Draws whether to place a lesion, and if so whose and how much of it."""
        super().randomize(data)
        others = [index for index, donor in enumerate(self.donors.data) if donor.get("patient") != data.get("patient")]
        self._do_transform = self._do_transform and "patient" in data and bool(others)
        if self._do_transform:
            self.donor, self.size = others[self.R.randint(len(others))], self.R.uniform(-1, 1)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        self.randomize(item)
        donor = self.donors[self.donor] if self._do_transform else None
        if donor is None or not donor[Keys.LABEL].any():
            return item
        box, region = carve(donor[Keys.LABEL].bool().any(dim=0).numpy(), size=self.size)
        offset = displacement(donor[Keys.IMAGE], item[Keys.IMAGE])
        part, source, target = _overlap(box, offset, shape=item[Keys.IMAGE].shape[1:])
        moved = torch.from_numpy(region[part]) & _brain(donor, source) & _brain(item, target)
        for key in (Keys.IMAGE, Keys.LABEL):
            item[key] = item[key].clone()
            place = _voxels(item, key, target)
            place.copy_(torch.where(moved, _voxels(donor, key, source), place))
        return item


def carve(lesion: np.ndarray, *, size: float) -> tuple[Box, np.ndarray]:
    """Returns the region {D < lambda} around a lesion, D being the signed distance to its border, inside negative.

    lambda = s * d for s > 0, which takes a rim of the tissue around it, and s * d / 2 for s < 0, which takes its inner
    part, where d is the largest depth of the lesion and s the `size` in [-1, 1].

    Args:
        lesion: mask (H, W, D) with a voxel at least.
        size: s.

    Returns:
        A box of the volume and the region within it.
    """
    (box,) = find_objects(lesion.astype(np.uint8))
    depth = distance_transform_edt(np.pad(lesion[box], 1))[1:-1, 1:-1, 1:-1]
    if size <= 0:
        return box, depth > -size / 2 * depth.max()
    rim = size * depth.max()
    margin = int(np.ceil(rim))
    box = tuple(
        slice(max(side.start - margin, 0), min(side.stop + margin, length)) for side, length in zip(box, lesion.shape)
    )
    return box, distance_transform_edt(~lesion[box]) < rim


def displacement(donor: torch.Tensor, item: torch.Tensor) -> np.ndarray:
    """Returns the voxels (3,) by which the donor's voxels move so that the centres of the boxes around the brains meet.

    Both images are (modalities, H, W, D). Between brains of a common space such as BraTS's, that is within a few voxels
    of the same place; a cached case does not tell its place in that space.
    """
    return np.round(_centre(item) - _centre(donor)).astype(int)


def _centre(image: torch.Tensor) -> np.ndarray:
    (box,) = find_objects(np.asarray(image).any(axis=0).astype(np.uint8))
    return np.array([(side.start + side.stop - 1) / 2 for side in box])


def _voxels(item: Mapping[Hashable, Any], key: str, box: Box) -> torch.Tensor:
    """Returns a view of the voxels in a box, without metadata."""
    return item[key].as_subclass(torch.Tensor)[(..., *box)]


def _brain(item: Mapping[Hashable, Any], box: Box) -> torch.Tensor:
    return (_voxels(item, Keys.IMAGE, box) != 0).any(dim=0)


def _overlap(box: Box, offset: np.ndarray, *, shape: Sequence[int]) -> tuple[Box, Box, Box]:
    """Returns what of a box, once moved, lies within a volume: as part of the box, where it was, and where it is."""
    part, source, target = [], [], []
    for side, by, length in zip(box, offset.tolist(), shape):
        start, stop = max(side.start, -by), min(side.stop, length - by)
        stop = max(start, stop)
        part.append(slice(start - side.start, stop - side.start))
        source.append(slice(start, stop))
        target.append(slice(start + by, stop + by))
    return tuple(part), tuple(source), tuple(target)  # type: ignore[return-value]
