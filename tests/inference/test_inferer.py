# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from scripts.base.errors import BundleError
from scripts.inference.inferer import AveragingInferer, BrainInferer
from tests.builders import make_batch, make_segmenter, make_voxelwise_segmenter
from tests.tolerances import EXACT, FLOAT32


@pytest.mark.parametrize(("max_whole_brain_voxels", "calls"), [(20**3, 1), (20**3 - 1, 8)])
def test_a_brain_is_run_whole_up_to_the_limit_and_by_windows_beyond(max_whole_brain_voxels: int, calls: int) -> None:
    network, shapes = make_voxelwise_segmenter().double(), []
    network.register_forward_hook(lambda _, inputs, output: shapes.append(tuple(inputs[0].shape[2:])))
    image = torch.rand(1, 4, 20, 20, 20, dtype=torch.float64)
    inferer = BrainInferer(max_whole_brain_voxels=max_whole_brain_voxels, roi_size=(16, 16, 16))
    with torch.no_grad():
        logits = inferer(image, network)
        assert shapes == calls * [(20, 20, 20) if calls == 1 else (16, 16, 16)]
        # where each voxel is judged by itself, the blended windows make no difference
        torch.testing.assert_close(logits, network(image), rtol=0, atol=EXACT)


def test_the_whole_brain_is_the_networks_own_output() -> None:
    segmenter, (image, _) = make_segmenter().eval(), make_batch(1)
    with torch.no_grad():
        assert torch.equal(
            BrainInferer(max_whole_brain_voxels=16**3, roi_size=(8, 8, 8))(image, segmenter), segmenter(image)
        )


@pytest.mark.parametrize("max_whole_brain_voxels", [16**3, 0])
def test_mixed_precision_is_that_of_the_images_device(max_whole_brain_voxels: int) -> None:
    segmenter, (image, _) = make_segmenter().eval(), make_batch(1)
    with torch.no_grad():
        plain, mixed = (
            BrainInferer(max_whole_brain_voxels=max_whole_brain_voxels, roi_size=(16, 16, 16), amp_dtype=dtype)(
                image, segmenter
            )
            for dtype in (None, torch.bfloat16)
        )
        with torch.autocast("cpu", dtype=torch.bfloat16):
            wanted = segmenter(image).float()
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, plain)
    # a window is weighted, summed and divided in the network's precision: three roundings
    torch.testing.assert_close(mixed, wanted, rtol=3 * 2**-8, atol=0)


@pytest.mark.parametrize("shape", [(3, 3, 3), (15, 20, 20), (20, 20, 1)])
def test_a_brain_thinner_than_the_network_can_halve_is_run_by_windows(shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        logits = BrainInferer(max_whole_brain_voxels=20**3, roi_size=(16, 16, 16))(
            torch.rand(1, 4, *shape), make_segmenter()
        )
    assert logits.shape == (1, 3, *shape)
    assert logits.isfinite().all()


def test_several_networks_and_flips_give_the_mean_probability() -> None:
    first, second, (image, _) = make_segmenter(0).eval(), make_segmenter(1).eval(), make_batch(1)
    whole = BrainInferer(max_whole_brain_voxels=16**3, roi_size=(8, 8, 8))
    with torch.no_grad():
        found = AveragingInferer(whole, flips=[0, 2], others=[second])(image, first)
        wanted = torch.stack(
            [
                torch.sigmoid(network(image.flip(dims)).flip(dims))
                for network in (first, second)
                for dims in ([], [2], [4])
            ]
        ).mean(0)
        # the same passes; the mean of six, logit and sigmoid again, up to 1, round up to 16 times
        torch.testing.assert_close(found.sigmoid(), wanted, rtol=0, atol=4 * FLOAT32)
        assert (found - first(image)).abs().max() > 0.1


def test_a_single_network_without_flips_is_plain_inference() -> None:
    segmenter, (image, _) = make_segmenter().eval(), make_batch(1)
    whole = BrainInferer(max_whole_brain_voxels=16**3, roi_size=(8, 8, 8))
    with torch.no_grad():
        assert torch.equal(AveragingInferer(whole)(image, segmenter), segmenter(image))


def test_the_mean_of_certain_networks_stays_finite() -> None:
    certain, (image, _) = make_voxelwise_segmenter(bias=-500.0), make_batch(1)
    whole = BrainInferer(max_whole_brain_voxels=16**3, roi_size=(8, 8, 8))
    assert AveragingInferer(whole, flips=[0])(image, certain).isfinite().all()


def test_an_axis_that_is_none_is_refused() -> None:
    with pytest.raises(BundleError, match=r"flips is \[3\]; allowed are the axes 0"):
        AveragingInferer(BrainInferer(max_whole_brain_voxels=1, roi_size=(8, 8, 8)), flips=[3])
