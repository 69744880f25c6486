# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.transforms import ConvertToMultiChannelBasedOnBratsClassesd

from scripts.base.errors import BundleError
from scripts.inference.postprocessing import NestRegionsd, RegionsToLabelsd, RemoveSmallRegionsd


@settings(deadline=None, max_examples=30)
@given(label=arrays(np.uint8, (1, 3, 4, 5), elements=st.sampled_from([0, 1, 2, 4])), enhancing=st.sampled_from([3, 4]))
def test_regions_and_labels_are_one_to_one(label: np.ndarray, enhancing: int) -> None:
    to_regions = ConvertToMultiChannelBasedOnBratsClassesd("label", et_label=4)
    regions = torch.as_tensor(to_regions({"label": torch.from_numpy(label)})["label"]).float()
    found = RegionsToLabelsd("pred", enhancing_label=enhancing)({"pred": regions})["pred"]
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found, np.where(label == 4, enhancing, label))


@settings(deadline=None, max_examples=30)
@given(regions=arrays(np.bool_, (3, 3, 4, 5)))
def test_every_voxel_of_a_region_that_is_not_nested_keeps_a_label_of_it(regions: np.ndarray) -> None:
    label = RegionsToLabelsd("pred")({"pred": torch.from_numpy(regions).float()})["pred"][0].numpy()
    for region, labels in zip(regions, ([1, 4], [1, 2, 4], [4])):
        assert np.isin(label[region], labels).all()
    assert ((label > 0) == regions.any(axis=0)).all()


def test_other_values_of_enhancing_tumour_are_refused() -> None:
    with pytest.raises(BundleError, match="enhancing_label is 5; allowed are 4"):
        RegionsToLabelsd("pred", enhancing_label=5)


def boxes(*sizes: int) -> torch.Tensor:
    """A region (20, 20, 20) with bars of so many voxels, one beside the other, two apart."""
    region = torch.zeros(20, 20, 20)
    for place, size in enumerate(sizes):
        region[3 * place, 0, :size] = 1
    return region


def test_an_enhancing_tumour_of_too_few_voxels_becomes_core() -> None:
    enhancing = boxes(4, 3)
    regions = torch.stack([boxes(0, 3), boxes(0), enhancing])
    kept = RemoveSmallRegionsd("pred", min_enhancing=7)({"pred": regions})["pred"]
    assert torch.equal(kept, regions)
    core, whole, none = RemoveSmallRegionsd("pred", min_enhancing=8)({"pred": regions})["pred"]
    assert not none.any()
    assert torch.equal(core, enhancing)
    assert torch.equal(whole, enhancing)
    assert torch.equal(regions[2], boxes(4, 3)), "the item that came in was changed"


def test_components_of_too_few_voxels_go_from_each_region_by_itself() -> None:
    # the core's small component lies within the large one of the whole tumour, which must not save it
    regions = torch.stack([boxes(4, 9), boxes(10, 10), boxes(5, 3)])
    found = RemoveSmallRegionsd("pred", min_component=5)({"pred": regions})["pred"]
    assert torch.equal(found, torch.stack([boxes(0, 9), boxes(10, 10), boxes(5, 0)]))


def test_components_that_touch_by_a_corner_are_one() -> None:
    regions = torch.zeros(3, 4, 4, 4)
    regions[:, 0, 0, 0] = regions[:, 1, 1, 1] = 1
    assert torch.equal(RemoveSmallRegionsd("pred", min_component=2)({"pred": regions})["pred"], regions)
    assert not RemoveSmallRegionsd("pred", min_component=3)({"pred": regions})["pred"].any()


def test_with_both_at_0_nothing_is_removed() -> None:
    regions = torch.stack([boxes(1), boxes(2, 1), boxes(1)])
    assert torch.equal(RemoveSmallRegionsd("pred")({"pred": regions})["pred"], regions)


@pytest.mark.parametrize("name", ["min_enhancing", "min_component"])
def test_a_negative_number_of_voxels_is_refused(name: str) -> None:
    numbers: dict[str, Any] = {name: -1}
    with pytest.raises(BundleError, match=f"{name} is -1; allowed are numbers of voxels from 0"):
        RemoveSmallRegionsd("pred", **numbers)


@settings(deadline=None, max_examples=30)
@given(regions=arrays(np.bool_, (3, 3, 4, 5)))
def test_nested_regions_are_cut_to_the_outer_ones(regions: np.ndarray) -> None:
    core, whole, enhancing = NestRegionsd("pred")({"pred": torch.from_numpy(regions).float()})["pred"].bool().numpy()
    assert np.array_equal(whole, regions[1])
    assert np.array_equal(core, regions[0] & regions[1])
    assert np.array_equal(enhancing, regions.all(axis=0))
