# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import Dataset, MetaTensor

from scripts.data.lesion_mix import RandLesionMixd, carve, displacement

SHAPE = (14, 15, 16)


def make_item(patient: str, *, value: float, lesion: slice | None = None) -> dict[Hashable, Any]:
    """A brain of one value that fills its volume but for a border of 2 voxels, and a cube of three regions in it."""
    image, label = torch.zeros(4, *SHAPE), torch.zeros(3, *SHAPE)
    image[:, 2:-2, 2:-2, 2:-2] = value * torch.arange(1.0, 5)[:, None, None, None]
    if lesion is not None:
        label[(slice(None), *(lesion,) * 3)] = 1
        image[(slice(None), *(lesion,) * 3)] += 0.5
    return {"patient": patient, "image": image, "label": label}


def mix(item: dict[Hashable, Any], *donors: dict[Hashable, Any], seed: int = 0) -> dict[Hashable, Any]:
    transform = RandLesionMixd(Dataset(donors), prob=1)
    transform.set_random_state(seed)
    return transform(item)


@pytest.mark.parametrize("size", [-1.0, -0.6, 0.0, 0.4, 1.0])
def test_a_region_is_all_within_a_signed_distance_of_the_border(size: float) -> None:
    lesion = np.zeros((12, 13, 14), dtype=bool)
    lesion[1:6, 2:9, 3:9] = lesion[5:8, 4:7, 5:11] = True
    inside, outside = np.argwhere(lesion), np.argwhere(~lesion)
    distance = np.zeros(lesion.shape)
    for voxel in itertools.product(*map(range, lesion.shape)):
        others = outside if lesion[voxel] else inside
        distance[voxel] = np.sqrt(((others - voxel) ** 2).sum(1).min()) * (-1 if lesion[voxel] else 1)
    depth = -distance.min()
    box, found = carve(lesion, size=size)
    region = np.zeros_like(lesion)
    region[box] = found
    assert np.array_equal(region, distance < (size if size > 0 else size / 2) * depth)
    assert region.any()


def test_a_lesion_comes_to_the_same_place_of_the_brain_with_its_labels_and_intensities() -> None:
    donor, item = make_item("a", value=0.1, lesion=slice(6, 11)), make_item("b", value=0.2)
    for values in item.values():  # a brain that lies 2 voxels further in its volume
        if isinstance(values, torch.Tensor):
            values[:, 4:] = values[:, 2:-2].clone()
            values[:, :4] = 0
    sizes = set()
    for seed in range(12):
        mixed = mix(item, donor, seed=seed)
        changed = (mixed["image"] != item["image"]).all(dim=0)
        assert changed.any()
        (labelled,) = {tuple(map(tuple, region.nonzero().tolist())) for region in mixed["label"]}
        for x, y, z in labelled:
            assert donor["label"][:, x - 2, y, z].all()
        moved = donor["image"].roll(2, dims=1)
        assert torch.equal(mixed["image"][:, changed], moved[:, changed])
        assert torch.equal((mixed["image"] == 0), (item["image"] == 0))
        sizes.add(int(changed.sum()))
    assert len(sizes) > 4
    assert min(sizes) < 5**3 < max(sizes)
    assert not item["label"].any()


def test_nothing_comes_from_outside_the_donors_brain_or_into_the_background() -> None:
    donor, item = make_item("a", value=0.1, lesion=slice(2, 12)), make_item("b", value=0.2)
    item["image"][:, 5:8] = 0
    donor["image"][:, :, 5:8] = 0
    for seed in range(6):
        mixed = mix(item, donor, seed=seed)
        assert torch.equal(mixed["image"] == 0, item["image"] == 0)
        assert not mixed["label"][:, 5:8].any()
        assert not mixed["label"][:, :, 5:8].any()
        assert mixed["label"].any()


def test_the_centres_of_the_brains_fall_together() -> None:
    donor, item = make_item("a", value=0.1), make_item("b", value=0.2)
    item["image"][:, :6] = 0
    donor["image"][..., -6:] = 0
    assert displacement(donor["image"], item["image"]).tolist() == [2, 0, 2]
    assert displacement(MetaTensor(donor["image"]), item["image"]).tolist() == [2, 0, 2]  # not out of the cache yet


def test_a_lesion_is_another_patients() -> None:
    own, donor = make_item("a", value=0.1, lesion=slice(6, 11)), make_item("b", value=0.2, lesion=slice(4, 6))
    for seed in range(5):
        assert mix(own, own, donor, seed=seed)["image"].max() > own["image"].max()
    for item in (own, {key: value for key, value in own.items() if key != "patient"}):
        assert torch.equal(mix(item, own)["image"], own["image"])
    assert torch.equal(mix(own, make_item("c", value=0.3))["image"], own["image"])


def test_the_same_seed_draws_the_same_lesion() -> None:
    donors = [make_item(str(number), value=0.01 * number, lesion=slice(number, number + 5)) for number in range(3, 7)]
    item = make_item("b", value=0.2)
    first, again, other = (mix(item, *donors, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first["image"], again["image"])
    assert torch.equal(first["label"], again["label"])
    assert not torch.equal(first["image"], other["image"])
