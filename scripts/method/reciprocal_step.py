# SPDX-License-Identifier: Apache-2.0
"""One training step of segmenter and critic (Eq. 1 and 2), for MONAI's AdversarialTrainer."""

from __future__ import annotations

from typing import Any

import torch
from monai.engines import AdversarialTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import AdversarialIterationEvents, AdversarialKeys
from monai.utils.enums import CommonKeys as Keys

from scripts.base.distributed import all_processes_agree
from scripts.base.errors import BundleError
from scripts.method.accumulation import AccumulationWindow, accumulation_window, step
from scripts.method.precision import at_least_float32, autocast, critic_scaler, segmenter_scaler
from scripts.method.schedules import ramp
from scripts.method.spoilt_masks import SpoiltMasks
from scripts.method.vat import VAT_PRED

STEP_TAKEN = "step_taken"


class ReciprocalStep:
    """One step of reciprocal adversarial learning, as `iteration_update` of MONAI's `AdversarialTrainer`.

    The segmenter minimises Eq. 2,

        L = lambda_dice * L_dice + lambda_vat * L_vat + lambda_critic * L_adv,

    and the critic then minimises its own side of Eq. 5, so that the two play the game of Eq. 1. Here F is the
    segmenter, p = sigmoid(F(x)) its prediction for an image x, Y the true regions and psi the critic, whose own loss is
    `scripts.method.CriticLoss`:

        L_dice: Eq. 3, 1 - (2 <Y, p> + 1) / (|Y|_1 + |p|_1 + 1), the trainer's `recon_loss_function(logits, label)`
            (the paper prints it without the 2, so that a perfect match would score 0.5);
        L_adv: `g_loss_function(logits, prediction, label)`, see `scripts.method.AdversarialLoss`; the critic is frozen;
        L_vat: Eq. 4, added by `scripts.method.VirtualAdversarialHandler` on the event after the segmenter's backward
            pass.

    The critic learns from two masks of each sample at once, `d_loss_function(logits, masks, label)`: the true mask and
    the prediction (Eq. 5); or, with `spoilt_masks`, the prediction and in turn a mask that is spoilt on purpose and the
    prediction that VAT's perturbation spoilt, which is there already: so the two adversaries help each other.

    All losses are stored in `engine.state.output`.

    Several batches may share one optimiser step, and several processes always do: the step uses their mean gradient.
    If a loss or gradient is not finite in any process, all processes skip the rest of that step: weights, optimisers
    and the critic's statistics keep their values. After the last batch of a step, `engine.state.output[STEP_TAKEN]`
    says whether the step was taken. The critic's BatchNorm sees each batch separately.

    Args:
        lambda_dice: weight of L_dice.
        lambda_critic: weight of L_adv; with 0 the critic is neither run nor trained.
        critic_start: last iteration without L_adv.
        critic_ramp: number of iterations in which its weight rises from 0 to `lambda_critic`.
        critic_learning_start: last iteration in which the critic does not learn.
        accumulate: number of batches (iterations) per optimiser step; the last step of an epoch may have fewer.
        spoilt_masks: what spoils true masks for the critic; None shows it the true ones.

    Raises:
        BundleError: if a weight is negative.
    """

    def __init__(
        self,
        *,
        lambda_dice: float = 1.0,
        lambda_critic: float = 0.3,
        critic_start: int = 0,
        critic_ramp: int = 0,
        critic_learning_start: int = 0,
        accumulate: int = 1,
        spoilt_masks: SpoiltMasks | None = None,
    ) -> None:
        for name, weight in (("lambda_dice", lambda_dice), ("lambda_critic", lambda_critic)):
            if weight < 0:
                raise BundleError(f"{name} is {weight}; the weight of a loss must be 0 or more.")
        self.lambda_dice = lambda_dice
        self.lambda_critic = lambda_critic
        self.critic_start = critic_start
        self.critic_ramp = critic_ramp
        self.critic_learning_start = critic_learning_start
        self.accumulate = accumulate
        self.spoilt_masks = spoilt_masks
        self._is_finite = True
        self._statistics: list[torch.Tensor] = []

    def __call__(self, engine: AdversarialTrainer, batchdata: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Trains both networks on one batch.

        Returns:
            `image` (B, modalities, H, W, D); `label`, `pred` (logits) and the critic's logits, all (B, regions, H, W,
            D); the segmenter's loss without VAT, its terms and the critic's loss, as scalars.
        """
        image, label = engine.prepare_batch(batchdata, engine.state.device, engine.non_blocking, **engine.to_kwargs)
        engine.state.output = {Keys.IMAGE: image, Keys.LABEL: label}
        batch = accumulation_window(engine.state, self.accumulate)
        if batch.begins:
            self._is_finite = True
            self._statistics = [b.clone() for b in engine.state.d_network.buffers()] if self.lambda_critic > 0 else []
        self._train_segmenter(engine, batch)
        engine.fire_event(AdversarialIterationEvents.GENERATOR_MODEL_COMPLETED)
        # the critic starts with a whole window, so that its first step has as many batches as the others
        started = engine.state.iteration - batch.position > self.critic_learning_start
        if self.lambda_critic > 0 and started and self._is_finite:
            self._train_critic(engine, batch)
            engine.fire_event(AdversarialIterationEvents.DISCRIMINATOR_MODEL_COMPLETED)
        if batch.ends and not self._is_finite:
            for buffer, value in zip(engine.state.d_network.buffers(), self._statistics):
                buffer.copy_(value)
        if batch.ends:
            engine.state.output[STEP_TAKEN] = self._is_finite
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _train_segmenter(self, engine: AdversarialTrainer, batch: AccumulationWindow) -> None:
        state, output = engine.state, engine.state.output
        state.g_network.train()
        if batch.begins:
            state.g_optimizer.zero_grad(set_to_none=engine.optim_set_to_none)
        with autocast(engine):
            output[Keys.PRED] = engine.g_inferer(output[Keys.IMAGE], state.g_network)
            engine.fire_event(AdversarialIterationEvents.GENERATOR_FORWARD_COMPLETED)
            dice = state.recon_loss_function(at_least_float32(output[Keys.PRED]), output[Keys.LABEL]).mean()
            engine.fire_event(AdversarialIterationEvents.RECONSTRUCTION_LOSS_COMPLETED)
            loss = self.lambda_dice * dice
            weight = self.lambda_critic * ramp(state.iteration, start=self.critic_start, length=self.critic_ramp)
            if weight > 0:
                adversarial = self._adversarial_loss(engine)
                loss = loss + weight * adversarial
                output[AdversarialKeys.GENERATOR_LOSS] = adversarial.detach()
        output[AdversarialKeys.RECONSTRUCTION_LOSS] = dice.detach()
        output[Keys.LOSS] = loss.detach()
        scaler = segmenter_scaler(engine)
        scaler.scale(loss).backward()
        engine.fire_event(AdversarialIterationEvents.GENERATOR_BACKWARD_COMPLETED)
        self._is_finite = self._is_finite and all_processes_agree(_losses_are_finite(output))
        if batch.ends and self._is_finite:
            self._is_finite = step(state.g_network, state.g_optimizer, scaler=scaler, batches=batch.size)
        output[Keys.PRED] = output[Keys.PRED].detach()

    def _adversarial_loss(self, engine: AdversarialTrainer) -> torch.Tensor:
        state, output = engine.state, engine.state.output
        critic = state.d_network
        # frozen and in eval mode: the segmenter's step must change neither parameters nor running statistics
        critic.eval().requires_grad_(False)
        prediction = at_least_float32(output[Keys.PRED]).sigmoid()
        logits = engine.d_inferer(prediction, critic, output[Keys.IMAGE])
        output[AdversarialKeys.FAKE_LOGITS] = logits.detach()
        critic.train().requires_grad_(True)
        engine.fire_event(AdversarialIterationEvents.GENERATOR_DISCRIMINATOR_FORWARD_COMPLETED)
        loss = state.g_loss_function(at_least_float32(logits), prediction, output[Keys.LABEL])
        engine.fire_event(AdversarialIterationEvents.GENERATOR_LOSS_COMPLETED)
        return loss

    def _train_critic(self, engine: AdversarialTrainer, batch: AccumulationWindow) -> None:
        state, output = engine.state, engine.state.output
        state.d_network.train()
        if batch.begins:
            state.d_optimizer.zero_grad(set_to_none=engine.optim_set_to_none)
        # all masks in one batch: BatchNorm statistics of their own would tell them apart
        masks = torch.cat(self._masks(engine))
        count = len(masks) // len(output[Keys.LABEL])
        with autocast(engine):
            images = output[Keys.IMAGE].repeat(count, 1, 1, 1, 1)
            logits = at_least_float32(engine.d_inferer(masks, state.d_network, images))
            loss = state.d_loss_function(logits, masks, output[Keys.LABEL])
        engine.fire_event(AdversarialIterationEvents.DISCRIMINATOR_LOSS_COMPLETED)
        output[AdversarialKeys.DISCRIMINATOR_LOSS] = loss.detach()
        scaler = critic_scaler(engine)
        scaler.scale(loss).backward()
        engine.fire_event(AdversarialIterationEvents.DISCRIMINATOR_BACKWARD_COMPLETED)
        self._is_finite = all_processes_agree(_losses_are_finite(output))
        if batch.ends and self._is_finite:
            self._is_finite = step(state.d_network, state.d_optimizer, scaler=scaler, batches=batch.size)

    def _masks(self, engine: AdversarialTrainer) -> list[torch.Tensor]:
        """Returns the masks from which the critic learns, each (B, regions, H, W, D)."""
        output = engine.state.output
        prediction = at_least_float32(output[Keys.PRED]).sigmoid()
        truth = output[Keys.LABEL].to(prediction.dtype)
        if self.spoilt_masks is None:
            return [truth, prediction]
        if VAT_PRED in output and engine.state.iteration % 2 == 0:
            return [at_least_float32(output[VAT_PRED]).sigmoid(), prediction]
        return [self.spoilt_masks(truth, engine.state.iteration), prediction]


def _losses_are_finite(output: dict[str, Any]) -> bool:
    losses = [value for value in output.values() if isinstance(value, torch.Tensor) and value.ndim == 0]
    return bool(torch.stack(losses).isfinite().all())
