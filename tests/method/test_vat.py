# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.engines import SupervisedTrainer, Trainer
from monai.utils.enums import AdversarialIterationEvents
from torch import nn

from scripts.base.errors import BundleError
from scripts.method.losses import bernoulli_divergence
from scripts.method.vat import (
    TARGETS,
    UnlabelledVirtualAdversarialHandler,
    VirtualAdversarialHandler,
    adversarial_direction,
    scale_to_rms,
)
from tests.builders import (
    make_batch,
    make_cases,
    make_critic,
    make_loader,
    make_reciprocal_trainer,
    make_segmenter,
    make_supervised_trainer,
    make_trained_segmenter,
    snapshot,
)

EPSILON = 0.03


def make_direction(target: str, segmenter: nn.Module) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns the image, the target, and the perturbation that the handler would use."""
    image, label = make_batch()
    trainer = make_supervised_trainer(segmenter)
    trainer.state.output = {"image": image, "label": label, "pred": segmenter(image)}
    handler = VirtualAdversarialHandler(segmenter, weight=1.0, epsilon=EPSILON, target=target)
    image, against = handler._batch(trainer)
    return image, against, handler._perturb(trainer, image, against)


@pytest.fixture
def trained() -> nn.Module:
    return make_trained_segmenter()


@pytest.mark.parametrize("target", TARGETS)
def test_the_perturbation_has_the_set_size_in_every_sample_and_lies_on_the_brain(
    target: str, trained: nn.Module
) -> None:
    image, _, perturbation = make_direction(target, trained)
    brain = (image != 0).any(dim=1, keepdim=True).expand_as(image)
    for change, inside in zip(perturbation, brain):
        assert change[inside].square().mean().sqrt().item() == pytest.approx(EPSILON, rel=1e-4)
        assert (change[~inside] == 0).all()


@pytest.mark.parametrize("target", TARGETS)
def test_the_perturbation_is_worse_than_random_ones_of_its_size(target: str, trained: nn.Module) -> None:
    image, against, perturbation = make_direction(target, trained)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        adversarial = bernoulli_divergence(against, trained(image + perturbation))
        worse = 0
        for _ in range(100):
            noise = scale_to_rms(torch.randn(image.shape, generator=generator), image, rms=EPSILON)
            worse += int(adversarial > bernoulli_divergence(against, trained(image + noise)))
    assert worse >= 95


def test_the_direction_of_a_linear_network_is_its_weight() -> None:
    network = nn.Conv3d(4, 1, 1, bias=False)
    image = torch.rand(2, 4, 4, 4, 4) + 0.1
    # against an empty mask, the divergence rises with the logit, whose gradient is the weight times the probability
    direction = adversarial_direction(network, image, torch.zeros(2, 1, 4, 4, 4), epsilon=EPSILON)
    expected = network(image).sigmoid() * network.weight[0][None]
    expected = scale_to_rms(expected.detach(), image, rms=EPSILON)
    torch.testing.assert_close(direction, expected)


def test_the_gradient_of_a_finite_difference_agrees(trained: nn.Module) -> None:
    image, label = make_batch(1)
    network = trained.double()
    image, label = image.double(), label.double()
    direction = adversarial_direction(network, image, label, epsilon=1.0).double()
    with torch.no_grad():
        step = 1e-4
        rise = bernoulli_divergence(label, network(image + step * direction)) - bernoulli_divergence(
            label, network(image - step * direction)
        )
    change = torch.zeros_like(image, requires_grad=True)
    (gradient,) = torch.autograd.grad(bernoulli_divergence(label, network(image + change)), change)
    brain = (image != 0).any(dim=1, keepdim=True)
    steepest = (gradient * brain).norm() * direction.norm()
    assert (rise / (2 * step)).item() == pytest.approx(steepest.item(), rel=1e-2)


def copy_gradients(trainer: SupervisedTrainer) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in trainer.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_changes_the_gradient_of_every_parameter(target: str) -> None:
    gradients = []
    for weight in (0.0, 0.2):
        segmenter = make_segmenter()
        handler = VirtualAdversarialHandler(segmenter, weight=weight, epsilon=EPSILON, target=target)
        trainer = make_supervised_trainer(segmenter, handlers=[handler])

        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda e: gradients.append(copy_gradients(e)))
        trainer.run()
    without, with_vat = gradients
    assert with_vat.keys() == without.keys() == dict(make_segmenter().named_parameters()).keys()
    assert all(not torch.equal(with_vat[name], without[name]) for name in without)


def unlabelled(seed: int = 5) -> Dataset:
    return Dataset([{"image": case["image"]} for case in make_cases(3, seed)])


def test_unlabelled_scans_change_the_gradient_of_every_parameter_and_repeat() -> None:
    gradients = []
    for dataset in (None, unlabelled(5), unlabelled(5), unlabelled(6)):
        segmenter = make_segmenter()
        handlers = (
            [UnlabelledVirtualAdversarialHandler(segmenter, dataset, weight=0.2, epsilon=EPSILON)] if dataset else []
        )
        trainer = make_supervised_trainer(segmenter, handlers=handlers)
        trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda e: gradients.append(copy_gradients(e)))
        trainer.run()
        assert ("unlabelled_vat_loss" in trainer.state.output) == bool(dataset)
    without, first, again, other = gradients
    assert all(not torch.equal(first[name], without[name]) for name in without)
    assert all(torch.equal(first[name], again[name]) for name in without)
    assert any(not torch.equal(first[name], other[name]) for name in without)


def test_the_target_of_unlabelled_scans_is_their_own_prediction(trained: nn.Module) -> None:
    handler = UnlabelledVirtualAdversarialHandler(trained, unlabelled(), batch_size=2, weight=0.2, epsilon=EPSILON)
    trainer = make_supervised_trainer(trained)
    image, target = handler._batch(trainer)
    assert image.shape == (2, 4, 16, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(target, trained(image).sigmoid())


def test_no_scan_to_draw_is_refused() -> None:
    with pytest.raises(BundleError, match="0 unlabelled cases"):
        UnlabelledVirtualAdversarialHandler(nn.Identity(), Dataset([]), weight=0.2, epsilon=EPSILON)


def test_it_runs_between_backward_and_step_of_either_trainer() -> None:
    for reciprocal in (True, False):
        segmenter = make_segmenter()
        handler = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=EPSILON)
        trainer: Trainer
        if reciprocal:
            trainer = make_reciprocal_trainer(segmenter, make_critic(), handlers=[handler])
        else:
            trainer = make_supervised_trainer(segmenter, handlers=[handler])
        trainer.run()
        assert trainer.state.output["vat_loss"] > 0


class WithMemory(nn.Module):
    """A segmenter with everything that an extra pass could disturb: BatchNorm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv3d(4, 4, 3, padding=1), nn.BatchNorm3d(4), nn.Dropout(0.5), nn.Conv3d(4, 3, 1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net(image)


@pytest.mark.parametrize("target", TARGETS)
def test_it_leaves_the_critic_running_statistics_and_random_state_alone(target: str) -> None:
    segmenter, critic = WithMemory(), make_critic()
    handler = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=EPSILON, target=target)
    trainer = make_reciprocal_trainer(segmenter, critic, loader=make_loader(make_cases(2)), lambda_critic=0.3)
    seen = []

    @trainer.on(AdversarialIterationEvents.GENERATOR_BACKWARD_COMPLETED)
    def run_it() -> None:
        critic_gradients = [p.grad for p in critic.parameters()]
        buffers = {name: b.clone() for name, b in segmenter.named_buffers()}
        critic_before, random_before = snapshot(critic), torch.get_rng_state()
        handler(trainer)
        assert [p.grad for p in critic.parameters()] == critic_gradients
        assert all(torch.equal(b, buffers[name]) for name, b in segmenter.named_buffers())
        assert all(torch.equal(t, critic_before[name]) for name, t in critic.state_dict().items())
        assert torch.equal(torch.get_rng_state(), random_before)
        assert segmenter.net[1].track_running_stats
        seen.append(trainer.state.output["vat_loss"])

    trainer.run()
    assert seen


def test_a_weight_of_zero_runs_no_extra_pass() -> None:
    passes = {}
    for weight in (0.0, 0.2):
        segmenter = make_segmenter()
        count = [0]
        segmenter.register_forward_hook(lambda *_, count=count: count.__setitem__(0, count[0] + 1))
        handler = VirtualAdversarialHandler(segmenter, weight=weight, epsilon=EPSILON)
        make_supervised_trainer(segmenter, handlers=[handler]).run()
        passes[weight] = count[0]
    assert passes == {0.0: 2, 0.2: 6}


def test_the_weight_rises_over_its_ramp() -> None:
    segmenter = make_segmenter()
    handler = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=EPSILON, start=1)
    trainer = make_supervised_trainer(segmenter, handlers=[handler])
    present = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: present.append("vat_loss" in e.state.output))
    trainer.run()
    assert present == [False, True]


def test_a_vanishing_gradient_gives_no_perturbation() -> None:
    image, _ = make_batch()
    assert (scale_to_rms(torch.zeros_like(image), image, rms=EPSILON) == 0).all()


def test_a_tiny_gradient_keeps_its_direction() -> None:
    image, _ = make_batch()
    gradient = torch.randn_like(image)
    torch.testing.assert_close(
        scale_to_rms(gradient * 1e-30, image, rms=EPSILON), scale_to_rms(gradient, image, rms=EPSILON)
    )


@pytest.mark.parametrize(
    "wrong", [{"target": "labels"}, {"epsilon": 0.0}, {"weight": -1.0}, {"xi": 0.0}, {"power_iterations": 0}]
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="VAT"):
        VirtualAdversarialHandler(nn.Identity(), **{"weight": 0.2, "epsilon": 0.03, **wrong})
