# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from monai.transforms import RandSpatialCropd

from scripts.data.patches import RandPatchd

SHAPE, PATCH = (12, 14, 16), (8, 8, 8)
KEYS = ["image", "label"]


def make_item(*tumour: tuple[int, int, int]) -> dict[Hashable, Any]:
    label = torch.zeros(3, *SHAPE)
    for voxel in tumour:
        label[(1, *voxel)] = 1
    return {"image": torch.arange(12.0 * 14 * 16).reshape(1, *SHAPE), "label": label}


def test_without_a_share_the_patches_are_monais() -> None:
    item = make_item((6, 7, 8))
    ours, monais = RandPatchd(KEYS, PATCH), RandSpatialCropd(KEYS, PATCH, random_size=False)
    for transform in (ours, monais):
        transform.set_random_state(1)
    for _ in range(5):
        patch, expected = ours(item), monais(item)
        assert all(torch.equal(patch[key], expected[key]) for key in KEYS)


def test_a_share_of_the_patches_is_centred_on_tumour_and_no_other() -> None:
    item, centred = make_item((6, 7, 8)), 0
    transform = RandPatchd(KEYS, PATCH, tumour_share=0.5).set_random_state(0)
    for _ in range(200):
        patch = transform(item)
        assert patch["image"].shape == (1, *PATCH)
        centred += int(patch["label"][1, 4, 4, 4])
    by_chance = 1 / (5 * 7 * 9)
    assert abs(centred / 200 - (0.5 + 0.5 * by_chance)) < 0.12  # three standard deviations


def test_a_patch_at_the_border_lies_inside() -> None:
    transform, seen = RandPatchd(KEYS, PATCH, tumour_share=1).set_random_state(0), set()
    for _ in range(20):
        patch = transform(make_item((0, 0, 15), (11, 13, 15)))
        assert patch["image"].shape == (1, *PATCH)
        seen.add(tuple(patch["label"][1].nonzero()[0].tolist()))
    assert seen == {(0, 0, 7), (7, 7, 7)}


def test_without_tumour_or_label_patches_lie_anywhere() -> None:
    whole = make_item()
    image_alone: dict[Hashable, Any] = {"image": whole["image"]}
    for item in (whole, image_alone):
        transform = RandPatchd(KEYS, PATCH, tumour_share=1, allow_missing_keys=True).set_random_state(0)
        assert len({float(transform(item)["image"][0, 0, 0, 0]) for _ in range(10)}) > 5
