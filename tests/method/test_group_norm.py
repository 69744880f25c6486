# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import nn

from scripts.method.group_norm import PreciseGroupNorm
from scripts.method.networks import Segmenter

BRAIN = (86, 105, 84)  # voxels of one at 1.6 mm


def make_norms(channels: int = 16) -> tuple[PreciseGroupNorm, nn.GroupNorm]:
    """Returns the norm and PyTorch's, with the same weights."""
    torch.manual_seed(0)
    precise, stock = PreciseGroupNorm(8, channels), nn.GroupNorm(8, channels)
    for parameter in precise.parameters():
        nn.init.normal_(parameter)
    stock.load_state_dict(precise.state_dict())
    return precise, stock


def make_image(*size: int, channels: int = 16, batch: int = 1) -> torch.Tensor:
    image = 3 * torch.randn(batch, channels, *size, generator=torch.Generator().manual_seed(0)) + 5
    return image.to(memory_format=torch.channels_last_3d)


@torch.no_grad()
def test_a_whole_brain_is_normalised_as_in_float64() -> None:
    precise, stock = make_norms()
    image = make_image(*BRAIN)
    exact = stock.double()(image.double().contiguous())
    found = precise(image)
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=1e-5)  # a dozen roundings of values of up to 10
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    # what it is for; where this fails, PyTorch has mended its kernel, and the class can go
    assert (stock.float()(image).double() - exact).abs().max() > 1e-4


@pytest.mark.parametrize("channels", [8, 16, 32])
@torch.no_grad()
def test_each_image_and_group_has_statistics_of_its_own(channels: int) -> None:
    precise, _ = make_norms(channels)
    image = make_image(5, 6, 7, channels=channels, batch=2) * torch.tensor([1.0, 30.0]).view(2, 1, 1, 1, 1)
    groups = image.double().reshape(2, 8, -1)
    mean, variance = groups.mean(2, keepdim=True), groups.var(2, correction=0, keepdim=True)
    expected = ((groups - mean) / (variance + precise.eps).sqrt()).reshape(image.shape)
    weight, bias = (parameter.double().view(1, -1, 1, 1, 1) for parameter in (precise.weight, precise.bias))
    # a dozen roundings of values of up to 10
    torch.testing.assert_close(precise(image).double(), expected * weight + bias, rtol=0, atol=1e-5)


def test_where_gradients_are_needed_it_is_pytorchs_own() -> None:
    precise, stock = make_norms()
    image = make_image(9, 8, 7).requires_grad_()
    assert torch.equal(precise(image), stock(image))
    (found,), (expected,) = (torch.autograd.grad(norm(image).square().sum(), image) for norm in (precise, stock))
    assert torch.equal(found, expected)


@torch.no_grad()
def test_a_scripted_network_keeps_it() -> None:
    network = Segmenter(in_channels=4, features=(8, 8, 8, 8, 8, 8), norm=("precise_group", {"num_groups": 8})).eval()
    norms = [module for module in network.modules() if isinstance(module, nn.GroupNorm)]
    assert norms
    assert all(isinstance(norm, PreciseGroupNorm) for norm in norms)
    image = make_image(32, 32, 32, channels=4) - 5
    network = network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    torch.testing.assert_close(torch.jit.script(network)(image), network(image), rtol=0, atol=0)
