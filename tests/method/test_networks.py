# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from monai.networks.layers import GaussianFilter
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from scripts.base.errors import BundleError
from scripts.method.losses import CriticLoss
from scripts.method.networks import Segmenter, VolumetricCritic, with_initial_foreground_probability
from tests.builders import changed, make_batch, make_critic, make_segmenter, snapshot
from tests.tolerances import EXACT


def leaves(critic: nn.Module) -> list[nn.Module]:
    return [module for module in critic.modules() if not list(module.children())]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 3, 16, 16, 16), (2, 3, 5, 7, 9)])
def test_every_voxel_of_every_region_is_judged(shape: tuple[int, ...], stride: int) -> None:
    assert VolumetricCritic(channels=(4, 4, 4), stride=stride)(torch.rand(shape)).shape == shape


def test_a_stride_of_2_has_an_eighth_of_the_multiplications_and_its_logits_stay_in_place() -> None:
    torch.manual_seed(0)
    mask = torch.rand(1, 3, 16, 16, 16)
    work = []
    for stride in (1, 2):
        with FlopCounterMode(display=False) as counter:
            VolumetricCritic(channels=(8, 16, 32), stride=stride)(mask)
        work.append(counter.get_total_flops())
    assert 7 < work[0] / work[1] < 8.1
    # a critic that is symmetric by construction judges a mirrored mask by the mirrored logits
    critic, mask = VolumetricCritic(channels=(4, 4, 4), stride=2).eval().double(), mask.double()
    for layer in leaves(critic):
        if isinstance(layer, nn.Conv3d):
            layer.weight.data += layer.weight.data.flip(2)
    torch.testing.assert_close(critic(mask.flip(2)), critic(mask).flip(2), rtol=0, atol=EXACT)


def test_four_convolutions_norm_and_activation_behind_the_first_three_only() -> None:
    layers = leaves(VolumetricCritic(channels=(4, 6, 8)))
    kinds = [type(layer).__name__ for layer in layers]
    assert kinds == ["Conv3d", "BatchNorm3d", "LeakyReLU"] * 3 + ["Conv3d"]
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv3d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(3, 4), (4, 6), (6, 8), (8, 3)]
    for convolution in convolutions:
        assert convolution.kernel_size == (3, 3, 3)
        assert convolution.stride == (1, 1, 1)
    assert all(layer.negative_slope == 0.2 for layer in layers if isinstance(layer, nn.LeakyReLU))


def test_nothing_is_behind_the_last_convolution() -> None:
    critic = make_critic().double()
    mask = torch.rand(2, 3, 6, 6, 6, dtype=torch.float64)
    before = critic(mask)
    last = leaves(critic)[-1]
    assert isinstance(last, nn.Conv3d)
    assert last.bias is not None
    with torch.no_grad():
        last.bias += torch.tensor([3.0, -2.0, 50.0])
    shift = torch.tensor([3.0, -2.0, 50.0])[:, None, None, None]
    torch.testing.assert_close(critic(mask), before + shift, rtol=0, atol=EXACT)


def test_it_learns_to_tell_masks_from_soft_ones() -> None:
    critic, loss = make_critic(), CriticLoss()
    _, mask = make_batch()
    soft = GaussianFilter(3, 1.0)(mask)
    optimizer = torch.optim.RMSprop(critic.parameters(), 1e-3)
    for _ in range(40):
        optimizer.zero_grad()
        masks = torch.cat([mask, soft])
        current = loss(critic(masks), masks, mask)
        current.backward()
        optimizer.step()
    assert current.item() < 0.7 * 2 * math.log(2)


def test_masks_of_other_regions_and_other_numbers_of_layers_are_refused() -> None:
    with pytest.raises(RuntimeError, match="channels"):
        make_critic()(torch.rand(1, 4, 8, 8, 8))
    with pytest.raises(BundleError, match="critic_sees truth, critic_stride 1 and 3 hidden"):
        VolumetricCritic(sees="truth")
    with pytest.raises(BundleError, match="critic_stride 1 and 2 hidden convolutions"):
        VolumetricCritic(channels=(4, 8))
    with pytest.raises(ValueError, match="critic_stride 3"):
        VolumetricCritic(stride=3)


FORMS = [
    {"sees": sees, "starts_from_certainty": certainty, "stride": stride}
    for sees in ("mask", "image_and_mask")
    for certainty in (False, True)
    for stride in (1, 2)
]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_judges_every_voxel_from_what_it_sees(form: dict[str, Any]) -> None:
    critic = VolumetricCritic(channels=(4, 4, 4), **form)
    nn.init.normal_(critic.get_parameter("layers.3.conv.weight"))
    mask = torch.rand(2, 3, 5, 8, 7, generator=torch.Generator().manual_seed(0))
    image, other = torch.rand(2, 4, 5, 8, 7), torch.rand(2, 4, 5, 8, 7)
    critic.eval()
    judgement = critic(mask, image)
    assert judgement.shape == mask.shape
    assert torch.equal(judgement, critic(mask, other)) == (form["sees"] == "mask")
    assert not torch.equal(judgement, critic(1 - mask, image))


def test_an_untrained_critic_that_starts_from_certainty_is_as_sure_as_the_segmenter() -> None:
    critic = VolumetricCritic(sees="image_and_mask", starts_from_certainty=True, stride=2, channels=(4, 4, 4)).double()
    mask = torch.rand(1, 3, 6, 6, 6, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    confidence = critic.confidence(mask, torch.rand(1, 4, 6, 6, 6))
    torch.testing.assert_close(confidence, torch.maximum(mask, 1 - mask), rtol=0, atol=EXACT)


def test_the_gradient_moves_the_mask_towards_the_opinion_and_does_not_reward_certainty() -> None:
    critic = VolumetricCritic(starts_from_certainty=True, channels=(4, 4, 4)).double()
    mask = torch.rand(1, 3, 6, 6, 6, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    critic(mask).sum().backward()
    # psi = (2 m - 1) E with E = logit(m), held constant; the slope of |logit(m)| would be far larger
    torch.testing.assert_close(mask.grad, 2 * mask.detach().logit(), rtol=0, atol=EXACT)


def test_a_critic_of_another_opinion_doubts_the_mask_and_pulls_it_over() -> None:
    critic = VolumetricCritic(sees="image_and_mask", starts_from_certainty=True, channels=(4, 4, 4))
    nn.init.constant_(critic.get_parameter("layers.3.conv.bias"), 3.0)  # everything is tumour
    mask = torch.tensor([0.3, 0.7]).view(2, 1, 1, 1, 1).expand(2, 3, 4, 4, 4).clone().requires_grad_()
    confidence = critic.confidence(mask, torch.rand(2, 4, 4, 4, 4))
    against, along = confidence.detach().flatten(1).mean(dim=1)
    assert against < 0.5 < 0.9 < along
    confidence.sum().backward()
    assert mask.grad is not None
    assert (mask.grad > 0).all()


def test_the_scales_are_saved_and_weigh_the_segmenters_opinion_and_its_correction() -> None:
    critic, again = (VolumetricCritic(starts_from_certainty=True, channels=(4, 4, 4)).eval().double() for _ in range(2))
    nn.init.normal_(critic.get_parameter("layers.3.conv.weight"))
    mask = torch.rand(1, 3, 6, 6, 6, generator=torch.Generator().manual_seed(0)).double()
    opinion = mask.logit()
    side = opinion.sign()
    correction = side * critic(mask) - opinion
    critic.scales.copy_(torch.tensor([0.5, 0.2], dtype=torch.float64))
    again.load_state_dict(critic.state_dict())
    expected = (side * (0.5 * opinion + 0.2 * correction)).sigmoid()
    torch.testing.assert_close(again.confidence(mask), expected, rtol=0, atol=EXACT)


def test_the_segmenter_takes_no_weights_of_another_network_even_where_nobody_insists() -> None:
    width = (4, 4, 4, 4, 4, 4)
    segmenter = Segmenter(features=width, norm=("group", {"num_groups": 2}))
    before = snapshot(segmenter)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        segmenter.load_state_dict(VolumetricCritic(channels=(4, 4, 4)).state_dict(), strict=False)
    assert changed(segmenter, before) == set()
    other = Segmenter(features=width, norm=("group", {"num_groups": 2}))
    segmenter.load_state_dict(other.state_dict(), strict=False)
    assert changed(segmenter, snapshot(other)) == set()


def test_an_untrained_segmenter_predicts_the_initial_foreground_probability() -> None:
    image, _ = make_batch()
    without, segmenter = make_segmenter(), with_initial_foreground_probability(make_segmenter(), 0.02)
    with torch.no_grad():
        # the last layer's random weights, up to 1 / sqrt(8), move the logits by 0.1 and spread them by 0.3; a shift of
        # 0.4 would be half as much again
        assert segmenter(image).sigmoid().mean().item() == pytest.approx(0.02, rel=0.5)
        assert without(image).sigmoid().mean().item() > 0.2
    assert changed(segmenter, snapshot(without)) == {"final_conv.bias"}
    assert changed(with_initial_foreground_probability(make_segmenter(), None), snapshot(without)) == set()


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1])
def test_an_initial_probability_outside_0_and_1_is_refused(probability: float) -> None:
    with pytest.raises(BundleError, match=f"initial_foreground_probability is {probability}"):
        with_initial_foreground_probability(make_segmenter(), probability)
