# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.engines import SupervisedTrainer, Trainer
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceLoss
from monai.utils.enums import AdversarialIterationEvents
from torch import nn

from scripts.base.errors import BundleError
from scripts.method.losses import bernoulli_divergence
from scripts.method.vat import (
    UnlabelledVirtualAdversarialHandler,
    VirtualAdversarialHandler,
    adversarial_direction,
    divergence_gradient,
    scale_to_rms,
)
from tests.builders import (
    in_float64,
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
from tests.tolerances import EXACT

EPSILON = 0.03


WAYS = [("label", "divergence"), ("label", "loss"), ("prediction", "divergence")]


def make_direction(
    target: str, direction: str, segmenter: nn.Module
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Returns image, target and perturbation of the first step of a trainer that leaves the segmenter as it is."""
    seen: list[torch.Tensor] = []

    class Watched(VirtualAdversarialHandler):
        def _perturb(self, engine: Trainer, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            perturbation = super()._perturb(engine, image, target)
            seen.extend([image, target, perturbation])
            return perturbation

    handler = Watched(segmenter, weight=1.0, epsilon=EPSILON, target=target, direction=direction)
    cases = make_cases() if next(segmenter.parameters()).dtype == torch.float32 else in_float64(make_cases())
    trainer = make_supervised_trainer(segmenter, handlers=[handler], loader=make_loader(cases))
    trainer.optimizer.param_groups[0]["lr"] = 0.0
    trainer.run()
    return seen[0], seen[1], seen[2]


@pytest.fixture
def trained() -> nn.Module:
    return make_trained_segmenter()


@pytest.mark.parametrize(("target", "direction"), WAYS)
def test_the_perturbation_has_the_set_size_in_every_sample_and_lies_on_the_brain(
    target: str, direction: str, trained: nn.Module
) -> None:
    image, _, perturbation = make_direction(target, direction, trained.double())
    brain = (image != 0).any(dim=1, keepdim=True).expand_as(image)
    for change, inside in zip(perturbation, brain):
        assert change[inside].square().mean().sqrt().item() == pytest.approx(EPSILON, rel=EXACT)
        assert (change[~inside] == 0).all()


@pytest.mark.parametrize(("target", "direction"), WAYS)
def test_the_perturbation_is_worse_than_random_ones_of_its_size(
    target: str, direction: str, trained: nn.Module
) -> None:
    image, against, perturbation = make_direction(target, direction, trained)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        adversarial = bernoulli_divergence(against, trained(image + perturbation))
        worse = 0
        for _ in range(100):
            noise = scale_to_rms(torch.randn(image.shape, generator=generator), image, rms=EPSILON)
            worse += int(adversarial > bernoulli_divergence(against, trained(image + noise)))
    assert worse >= 95


def test_a_random_perturbation_has_the_set_size_and_repeats_by_iteration(trained: nn.Module) -> None:
    image, _, perturbation = make_direction("label", "random", trained.double())
    brain = (image != 0).any(dim=1, keepdim=True).expand_as(image)
    assert perturbation[brain].square().mean().sqrt().item() == pytest.approx(EPSILON, rel=EXACT)
    assert torch.equal(perturbation, make_direction("label", "random", make_trained_segmenter().double())[2])


def test_the_direction_of_a_linear_network_is_its_weight() -> None:
    network = nn.Conv3d(4, 1, 1, bias=False).double()
    image = torch.rand(2, 4, 4, 4, 4, dtype=torch.float64) + 0.1
    # against an empty mask, the divergence rises with the logit, whose gradient is the weight times the probability
    direction = adversarial_direction(network, image, torch.zeros(2, 1, 4, 4, 4, dtype=torch.float64), epsilon=EPSILON)
    expected = network(image).sigmoid() * network.weight[0][None]
    expected = scale_to_rms(expected.detach(), image, rms=EPSILON)
    torch.testing.assert_close(direction, expected, rtol=EXACT, atol=0)


def test_the_gradient_of_a_finite_difference_agrees(trained: nn.Module) -> None:
    image, label = make_batch(1)
    network = trained.double()
    image, label = image.double(), label.double()
    direction = adversarial_direction(network, image, label, epsilon=1.0)
    with torch.no_grad():
        step = 1e-6  # of the order of the square root of rounding, so that its error and the curvature's are small
        rise = bernoulli_divergence(label, network(image + step * direction)) - bernoulli_divergence(
            label, network(image - step * direction)
        )
    change = torch.zeros_like(image, requires_grad=True)
    (gradient,) = torch.autograd.grad(bernoulli_divergence(label, network(image + change)), change)
    brain = (image != 0).any(dim=1, keepdim=True)
    steepest = (gradient * brain).norm() * direction.norm()
    # within a step, ReLU's kinks are met in one of a million activations of size 1; a hundred times that
    assert (rise / (2 * step)).item() == pytest.approx(steepest.item(), rel=1e-4)


def copy_gradients(trainer: SupervisedTrainer) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in trainer.network.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("target", "direction"), WAYS)
def test_the_loss_changes_the_gradient_of_every_parameter(target: str, direction: str) -> None:
    gradients = []
    for weight in (0.0, 0.2):
        segmenter = make_segmenter()
        handler = VirtualAdversarialHandler(
            segmenter, weight=weight, epsilon=EPSILON, target=target, direction=direction
        )
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
    dataset = Dataset(in_float64([dict(item) for item in unlabelled().data]))
    trained.double()
    handler = UnlabelledVirtualAdversarialHandler(trained, dataset, batch_size=2, weight=0.2, epsilon=EPSILON)
    trainer = make_supervised_trainer(trained)
    image, target = handler._batch(trainer)
    assert image.shape == (2, 4, 16, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(target, trained(image).sigmoid(), rtol=EXACT, atol=0)


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


@pytest.mark.parametrize(("target", "direction"), WAYS)
def test_it_leaves_the_critic_running_statistics_and_random_state_alone(target: str, direction: str) -> None:
    found = []
    for weight in (0.0, 0.2):
        segmenter, critic = WithMemory(), make_critic()
        handler = VirtualAdversarialHandler(
            segmenter, weight=weight, epsilon=EPSILON, target=target, direction=direction
        )
        loader = make_loader(make_cases(2))
        trainer = make_reciprocal_trainer(segmenter, critic, handlers=[handler], loader=loader, lambda_critic=0.3)
        torch.manual_seed(0)

        @trainer.on(AdversarialIterationEvents.GENERATOR_BACKWARD_COMPLETED)
        def look(engine: Any) -> None:
            segmenter, critic = engine.state.g_network, engine.state.d_network
            assert all(p.grad is None for p in critic.parameters())
            assert segmenter.net[1].track_running_stats
            buffers = {name: b.clone() for name, b in segmenter.named_buffers()}
            found.append(buffers | snapshot(critic) | {"random state": torch.get_rng_state()})

        trainer.run()
        assert ("vat_loss" in trainer.state.output) == (weight > 0)
    without, with_vat = found
    assert all(torch.equal(tensor, with_vat[name]) for name, tensor in without.items())


def test_a_weight_of_zero_runs_no_extra_pass() -> None:
    passes = {}
    for weight in (0.0, 0.2):
        segmenter = make_segmenter()
        count = [0]
        segmenter.register_forward_hook(lambda *_, count=count: count.__setitem__(0, count[0] + 1))
        handler = VirtualAdversarialHandler(segmenter, weight=weight, epsilon=EPSILON)
        make_supervised_trainer(segmenter, handlers=[handler]).run()
        passes[weight] = count[0]
    assert passes == {0.0: 2, 0.2: 4}


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
    found, expected = (scale_to_rms(g, image, rms=EPSILON) for g in (gradient * 1e-30, gradient))
    # float32 rounds `gradient * 1e-30`, its scaling and the size: by less than 16 units in the last place
    torch.testing.assert_close(found, expected, rtol=16 * torch.finfo(torch.float32).eps, atol=0)


def gradients_of_one_step(segmenter: nn.Module, handler: VirtualAdversarialHandler) -> dict[str, torch.Tensor]:
    trainer = make_supervised_trainer(segmenter, handlers=[handler])
    trainer.data_loader = [{key: value.double() for key, value in zip(("image", "label"), make_batch())}]
    trainer.optimizer.param_groups[0]["lr"] = 0.0
    trainer.run()
    return copy_gradients(trainer)


def test_the_direction_from_the_trainers_graph_and_the_steps_gradient_are_those_of_separate_passes(
    trained: nn.Module,
) -> None:
    perturbations: dict[str, torch.Tensor] = {}

    class FromTheGraph(VirtualAdversarialHandler):
        def _perturb(self, engine: Trainer, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
            perturbations["graph"] = super()._perturb(engine, image, target)
            # what a pass of its own finds, with the divergence differentiated by autograd
            change = torch.zeros_like(image, requires_grad=True)
            divergence = bernoulli_divergence(target.double(), self.network(image + change))
            (gradient,) = torch.autograd.grad(divergence, change)
            perturbations["own pass"] = scale_to_rms(gradient, image, rms=EPSILON)
            return perturbations[self.way]

        way = "graph"

    class FromItsOwnPass(FromTheGraph):
        way = "own pass"

    network = trained.double()
    gradients = [
        gradients_of_one_step(network, handler(network, weight=0.2, epsilon=EPSILON))
        for handler in (FromTheGraph, FromItsOwnPass)
    ]
    cosine = torch.cosine_similarity(perturbations["graph"].flatten(), perturbations["own pass"].flatten(), dim=0)
    assert cosine.item() >= 0.9999
    for name, gradient in gradients[0].items():
        other = gradients[1][name]
        assert (gradient - other).norm() <= EXACT * other.norm().clamp_min(1e-12), name


def test_the_direction_of_the_loss_is_the_gradient_of_the_trainers_loss(trained: nn.Module) -> None:
    image, _, perturbation = make_direction("label", "loss", trained)
    _, label = make_batch()
    change = torch.zeros_like(image, requires_grad=True)
    loss = DiceLoss(sigmoid=True, smooth_nr=1, smooth_dr=1)(trained(image + change), label)
    (gradient,) = torch.autograd.grad(loss, change)
    expected = scale_to_rms(gradient, image, rms=EPSILON)
    assert torch.cosine_similarity(perturbation.flatten(), expected.flatten(), dim=0).item() >= 0.9999


def test_no_gradient_of_a_parameter_is_computed_for_the_direction(trained: nn.Module) -> None:
    image, label = make_batch()
    image.requires_grad_()
    trained.zero_grad()
    divergence_gradient(trained(image), label, image)
    assert all(parameter.grad is None for parameter in trained.parameters())


def test_every_kth_iteration_has_k_times_the_weight() -> None:
    losses, gradients = [], []
    for weight, interval in ((0.0, 1), (0.4, 1), (0.2, 2)):
        segmenter = make_segmenter()
        handler = VirtualAdversarialHandler(segmenter, weight=weight, epsilon=EPSILON, interval=interval)
        trainer = make_supervised_trainer(segmenter, handlers=[handler])
        trainer.optimizer.param_groups[0]["lr"] = 0.0
        present: list[bool] = []
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda e, present=present: present.append("vat_loss" in e.state.output)
        )
        trainer.run()
        losses.append(present)
        gradients.append(copy_gradients(trainer))
    assert losses == [[False, False], [True, True], [False, True]]
    without, doubled, every_second = gradients
    assert all(torch.equal(doubled[name], every_second[name]) for name in doubled)
    assert any(not torch.equal(doubled[name], without[name]) for name in doubled)


def test_a_trainer_that_feeds_the_network_window_by_window_is_refused() -> None:
    segmenter = make_segmenter()
    handler = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=EPSILON)
    trainer = make_supervised_trainer(segmenter, handlers=[handler])
    trainer.inferer = SlidingWindowInferer(roi_size=(16, 16, 16), sw_batch_size=1)
    with pytest.raises(BundleError, match="whole batch"):
        trainer.run()


@pytest.mark.parametrize(
    "wrong",
    [
        {"target": "labels"},
        {"direction": "dice"},
        {"target": "prediction", "direction": "loss"},
        {"epsilon": 0.0},
        {"weight": -1.0},
        {"xi": 0.0},
        {"power_iterations": 0},
        {"interval": 0},
    ],
)
def test_wrong_arguments_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="VAT"):
        VirtualAdversarialHandler(nn.Identity(), **{"weight": 0.2, "epsilon": 0.03, **wrong})
