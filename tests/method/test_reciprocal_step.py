# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.engines import AdversarialTrainer
from monai.utils.enums import AdversarialIterationEvents, AdversarialKeys
from monai.utils.enums import CommonKeys as Keys
from torch import nn

from scripts.base.errors import BundleError
from scripts.method.losses import CriticLoss
from scripts.method.networks import VolumetricCritic
from scripts.method.reciprocal_step import STEP_TAKEN, ReciprocalStep
from scripts.method.spoilt_masks import SpoiltMasks
from scripts.method.vat import VAT_PRED, VirtualAdversarialHandler
from tests.builders import (
    changed,
    freeze_norms,
    make_batch,
    make_cases,
    make_critic,
    make_exact_cases,
    make_loader,
    make_reciprocal_trainer,
    make_segmenter,
    make_supervised_trainer,
    snapshot,
)
from tests.tolerances import ABOVE_ROUNDING, EXACT, FLOAT32


def test_each_step_trains_its_own_network_and_leaves_the_other_alone() -> None:
    segmenter, critic = make_segmenter(), make_critic()
    trainer = make_reciprocal_trainer(segmenter, critic, loader=make_loader(make_cases(2)), lambda_critic=0.3)
    seen: dict[str, set[str]] = {}
    before = {"segmenter": snapshot(segmenter), "critic": snapshot(critic)}

    @trainer.on(AdversarialIterationEvents.GENERATOR_MODEL_COMPLETED)
    def after_segmenter_step() -> None:
        seen["segmenter, by its own step"] = changed(segmenter, before["segmenter"])
        seen["critic, by the segmenter's step"] = changed(critic, before["critic"])
        before["segmenter"] = snapshot(segmenter)

    @trainer.on(AdversarialIterationEvents.DISCRIMINATOR_MODEL_COMPLETED)
    def after_critic_step() -> None:
        seen["segmenter, by the critic's step"] = changed(segmenter, before["segmenter"])
        seen["critic, by its own step"] = changed(critic, before["critic"])

    trainer.run()
    # a convolution's bias has no effect, nor gradient, before a norm that takes the mean away; here norms are by group
    assert seen["segmenter, by its own step"] == {name for name, _ in segmenter.named_parameters()}
    assert seen["critic, by the segmenter's step"] == set()
    assert seen["segmenter, by the critic's step"] == set()
    assert seen["critic, by its own step"] >= {name for name, _ in critic.named_parameters()}


def test_the_adversarial_term_alone_pleases_the_critic_more() -> None:
    segmenter, critic = make_segmenter(), make_critic()
    trainer = make_reciprocal_trainer(
        segmenter, critic, loader=make_loader(make_cases(2)), lambda_dice=0.0, lambda_critic=1.0
    )
    scores: list[float] = []

    @trainer.on(AdversarialIterationEvents.GENERATOR_MODEL_COMPLETED)
    def compare() -> None:
        segmenter.eval()
        critic.eval()
        with torch.no_grad():
            after = critic(segmenter(trainer.state.output[Keys.IMAGE]).sigmoid()).mean().item()
        scores.extend([trainer.state.output[AdversarialKeys.FAKE_LOGITS].mean().item(), after])
        critic.train()

    trainer.run()
    assert scores[1] > scores[0]


def test_without_adversaries_it_is_the_supervised_trainer_bit_for_bit() -> None:
    ours, theirs, critic = make_segmenter(), make_segmenter(), make_critic()
    untouched = snapshot(critic)
    vat = VirtualAdversarialHandler(ours, weight=0.0, epsilon=0.03)
    trainer = make_reciprocal_trainer(ours, critic, handlers=[vat], lambda_critic=0.0)
    trainer.run()
    make_supervised_trainer(theirs).run()
    assert changed(ours, snapshot(theirs)) == set()
    assert changed(critic, untouched) == set()
    assert AdversarialKeys.GENERATOR_LOSS not in trainer.state.output


def test_a_seeded_run_repeats_bit_for_bit() -> None:
    results = []
    for _ in range(2):
        segmenter, critic = make_segmenter(), make_critic()
        vat = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=0.03, target="prediction")
        make_reciprocal_trainer(segmenter, critic, handlers=[vat], epochs=2, lambda_critic=0.3).run()
        results.append((segmenter, critic))
    (segmenter, critic), (again, critic_again) = results
    assert changed(segmenter, snapshot(again)) == set()
    assert changed(critic, snapshot(critic_again)) == set()


def test_all_loss_terms_are_in_the_output_and_add_up() -> None:
    segmenter, critic = make_segmenter().double(), make_critic().double()
    vat = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=0.03)
    options: dict[str, Any] = {"lambda_dice": 0.7, "lambda_critic": 0.3, "loader": make_loader(make_exact_cases(4))}
    trainer = make_reciprocal_trainer(segmenter, critic, handlers=[vat], **options)
    trainer.run()
    output = trainer.state.output
    total = 0.7 * output[AdversarialKeys.RECONSTRUCTION_LOSS] + 0.3 * output[AdversarialKeys.GENERATOR_LOSS]
    torch.testing.assert_close(output[Keys.LOSS], total, rtol=EXACT, atol=0)
    assert output["vat_loss"] > 0
    assert output[AdversarialKeys.DISCRIMINATOR_LOSS] > 0


def test_the_critic_begins_late_and_its_weight_rises() -> None:
    segmenter, critic = make_segmenter().double(), make_critic().double()
    options: dict[str, Any] = {"epochs": 3, "lambda_critic": 1.0, "critic_start": 2, "critic_ramp": 4}
    options["critic_learning_start"] = 2
    trainer = make_reciprocal_trainer(segmenter, critic, loader=make_loader(make_exact_cases(4)), **options)
    untouched, weights = snapshot(critic), []

    @trainer.on(Events.ITERATION_COMPLETED)
    def read_weight() -> None:
        output = trainer.state.output
        adversarial = output.get(AdversarialKeys.GENERATOR_LOSS, torch.tensor(1.0))
        weights.append(((output[Keys.LOSS] - output[AdversarialKeys.RECONSTRUCTION_LOSS]) / adversarial).item())
        if trainer.state.iteration == 2:
            assert changed(critic, untouched) == set()

    trainer.run()
    assert weights == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1.0], abs=EXACT)
    assert changed(critic, untouched) != set()


def test_the_critic_learns_before_the_segmenter_hears_it() -> None:
    segmenter, critic = make_segmenter(), make_critic()
    untouched = snapshot(critic)
    trainer = make_reciprocal_trainer(segmenter, critic, lambda_critic=1.0, critic_start=9)
    trainer.run()
    assert changed(critic, untouched) != set()
    assert AdversarialKeys.GENERATOR_LOSS not in trainer.state.output


def test_the_critic_learns_from_the_masks_that_were_spoilt_on_purpose_and_by_vat() -> None:
    segmenter = make_segmenter()
    fed: list[torch.Tensor] = []

    class Loss(CriticLoss):
        def forward(self, logits: torch.Tensor, masks: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
            fed[:] = [*fed, *masks.chunk(2)]
            return super().forward(logits, masks, label)

    torch.manual_seed(1)
    critic = VolumetricCritic(sees="image_and_mask", starts_from_certainty=True, stride=2, channels=(4, 4, 4))
    vat = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=0.03, interval=2)
    trainer = make_reciprocal_trainer(segmenter, critic, handlers=[vat], lambda_critic=0.3, spoilt_masks=SpoiltMasks())
    trainer.state.d_loss_function = Loss(judges="correctness", balanced=True)
    trainer.run()
    assert trainer.state.iteration == 2
    torch.testing.assert_close(fed[0], SpoiltMasks()(make_batch(2)[1], 1), rtol=0, atol=0)
    torch.testing.assert_close(fed[2], trainer.state.output[VAT_PRED].sigmoid(), rtol=0, atol=FLOAT32)
    torch.testing.assert_close(fed[3], trainer.state.output[Keys.PRED].sigmoid(), rtol=0, atol=FLOAT32)
    assert (fed[2] != fed[3]).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_trains_both_networks(dtype: torch.dtype) -> None:
    segmenter, critic = make_segmenter(), make_critic()
    before = snapshot(segmenter), snapshot(critic)
    vat = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=0.03)
    trainer = make_reciprocal_trainer(segmenter, critic, handlers=[vat], amp_dtype=dtype, lambda_critic=0.3)
    trainer.run()
    assert trainer.state.output[Keys.PRED].dtype == dtype
    assert torch.isfinite(trainer.state.output[Keys.LOSS])
    assert changed(segmenter, before[0])
    assert changed(critic, before[1])


def run_accumulated(*, batch_size: int, accumulate: int) -> tuple[nn.Module, nn.Module]:
    """Trains for four batches of two cases, or their halves, with everything on and a critic that has no statistics."""
    segmenter, critic = make_segmenter().double(), freeze_norms(make_critic()).double()
    vat = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=0.03)
    loader = make_loader(make_exact_cases(8), batch_size=batch_size)
    options: dict[str, Any] = {"lambda_critic": 0.3, "accumulate": accumulate, "eps": ABOVE_ROUNDING}
    make_reciprocal_trainer(segmenter, critic, handlers=[vat], loader=loader, **options).run()
    return segmenter, critic


def test_two_accumulated_batches_are_one_of_twice_the_size() -> None:
    whole, halves = run_accumulated(batch_size=2, accumulate=1), run_accumulated(batch_size=1, accumulate=2)
    difference = max(
        (one - other).abs().max().item()
        for network, again in zip(whole, halves)
        for one, other in zip(network.state_dict().values(), again.state_dict().values())
    )
    assert difference < EXACT


class StateOf:
    """What a skipped step must leave alone."""

    def __init__(self, trainer: AdversarialTrainer) -> None:
        self.networks = {name: snapshot(getattr(trainer.state, name)) for name in ("g_network", "d_network")}
        self.optimizers = copy.deepcopy(
            [getattr(trainer.state, name).state_dict()["state"] for name in ("g_optimizer", "d_optimizer")]
        )

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, StateOf)
        tensors = [[n for net in s.networks.values() for n in net.values()] for s in (self, other)]
        moments = [
            [torch.as_tensor(v) for state in s.optimizers for p in state.values() for v in p.values()]
            for s in (self, other)
        ]
        return all(
            len(ours) == len(theirs) and all(map(torch.equal, ours, theirs)) for ours, theirs in (tensors, moments)
        )


def break_image(trainer: AdversarialTrainer) -> None:
    trainer.state.batch["image"][0, 0, 8, 8, 8] = torch.nan


def break_term(trainer: AdversarialTrainer) -> None:
    trainer.state.output["vat_loss"] = torch.tensor(torch.inf)


def break_gradient(trainer: AdversarialTrainer) -> None:
    next(trainer.state.g_network.parameters()).grad[0] = torch.inf


def break_critic(trainer: AdversarialTrainer) -> None:
    next(trainer.state.d_network.parameters()).grad[0] = torch.nan


BACKWARD, CRITIC_BACKWARD = (
    AdversarialIterationEvents.GENERATOR_BACKWARD_COMPLETED,
    AdversarialIterationEvents.DISCRIMINATOR_BACKWARD_COMPLETED,
)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("event", "fault"),
    [(Events.ITERATION_STARTED, break_image), (BACKWARD, break_term), (BACKWARD, break_gradient)],
)
def test_a_step_that_is_not_finite_leaves_everything_as_it_was(
    event: Any, fault: Callable[[AdversarialTrainer], None], accumulate: int
) -> None:
    segmenter, critic = make_segmenter(), make_critic()
    loader = make_loader(make_cases(6), batch_size=2 // accumulate)
    trainer = make_reciprocal_trainer(segmenter, critic, loader=loader, lambda_critic=0.3, accumulate=accumulate)
    # of three steps the second, in its first batch
    bad = accumulate + 1
    states: dict[int, StateOf] = {}
    taken: dict[int, bool | None] = {}
    trainer.register_events(*AdversarialIterationEvents)
    trainer.add_event_handler(event, lambda: fault(trainer) if trainer.state.iteration == bad else None)
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: states.setdefault(trainer.state.iteration, StateOf(trainer))
    )
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda: taken.setdefault(trainer.state.iteration, trainer.state.output.get(STEP_TAKEN)),
    )
    trainer.run()
    assert states[accumulate] == states[2 * accumulate]
    assert states[3 * accumulate] != states[2 * accumulate]
    assert [taken[accumulate * step] for step in (1, 2, 3)] == [True, False, True]
    assert all(state is None for iteration, state in taken.items() if iteration % accumulate)


def test_a_critics_step_that_is_not_finite_leaves_the_critic_as_it_was() -> None:
    critic = make_critic()
    trainer = make_reciprocal_trainer(make_segmenter(), critic, loader=make_loader(make_cases(2)), lambda_critic=0.3)
    trainer.register_events(*AdversarialIterationEvents)
    trainer.add_event_handler(CRITIC_BACKWARD, break_critic, trainer)
    before = snapshot(critic)
    trainer.run()
    assert changed(critic, before) == set()
    assert trainer.state.output[STEP_TAKEN] is False


def test_a_step_that_another_process_cannot_take_is_not_taken_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.method.reciprocal_step.all_processes_agree", lambda condition: False)
    segmenter, critic = make_segmenter(), make_critic()
    before = snapshot(segmenter), snapshot(critic)
    make_reciprocal_trainer(segmenter, critic, lambda_critic=0.3).run()
    assert changed(segmenter, before[0]) == set()
    assert changed(critic, before[1]) == set()


def test_a_negative_weight_is_refused_by_name() -> None:
    with pytest.raises(BundleError, match=r"lambda_critic is -0\.1"):
        ReciprocalStep(lambda_critic=-0.1)
