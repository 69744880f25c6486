# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import pytest
import torch
from ignite.engine import Events
from monai.utils.enums import AdversarialIterationEvents, AdversarialKeys
from monai.utils.enums import CommonKeys as Keys

from scripts.engine_step import ReciprocalStep
from scripts.errors import BundleError
from scripts.vat import VirtualAdversarialHandler
from tests.builders import (
    changed,
    make_cases,
    make_critic,
    make_loader,
    make_reciprocal_trainer,
    make_segmenter,
    make_supervised_trainer,
    snapshot,
)


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
    segmenter = make_segmenter()
    vat = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=0.03)
    trainer = make_reciprocal_trainer(segmenter, make_critic(), handlers=[vat], lambda_dice=0.7, lambda_critic=0.3)
    trainer.run()
    output = trainer.state.output
    total = 0.7 * output[AdversarialKeys.RECONSTRUCTION_LOSS] + 0.3 * output[AdversarialKeys.GENERATOR_LOSS]
    torch.testing.assert_close(output[Keys.LOSS], total)
    assert output["vat_loss"] > 0
    assert output[AdversarialKeys.DISCRIMINATOR_LOSS] > 0


def test_the_critic_begins_late_and_its_weight_rises() -> None:
    segmenter, critic = make_segmenter(), make_critic()
    trainer = make_reciprocal_trainer(segmenter, critic, epochs=3, lambda_critic=1.0, critic_start=2, critic_ramp=4)
    untouched, weights = snapshot(critic), []

    @trainer.on(Events.ITERATION_COMPLETED)
    def read_weight() -> None:
        output = trainer.state.output
        adversarial = output.get(AdversarialKeys.GENERATOR_LOSS, torch.tensor(1.0))
        weights.append(((output[Keys.LOSS] - output[AdversarialKeys.RECONSTRUCTION_LOSS]) / adversarial).item())
        if trainer.state.iteration == 2:
            assert changed(critic, untouched) == set()

    trainer.run()
    assert weights == pytest.approx([0, 0, 0.25, 0.5, 0.75, 1.0], abs=1e-5)
    assert changed(critic, untouched) != set()


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


def test_a_negative_weight_is_refused_by_name() -> None:
    with pytest.raises(BundleError, match=r"lambda_critic is -0\.1"):
        ReciprocalStep(lambda_critic=-0.1)
