# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import torch
from monai.engines import AdversarialTrainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import AdversarialIterationEvents as Events
from monai.utils.enums import AdversarialKeys
from monai.utils.enums import CommonKeys as Keys

from scripts.base.distributed import everywhere
from scripts.base.errors import BundleError
from scripts.method.accumulation import Window, step, window
from scripts.method.precision import autocast, critic_scaler, segmenter_scaler
from scripts.method.schedules import ramp

STEP_TAKEN = "step_taken"


class ReciprocalStep:
    """One step of reciprocal adversarial learning (Eq. 2), as `iteration_update` of MONAI's `AdversarialTrainer`.

    First the segmenter is trained to match the truth (Dice) and to please the critic, which is frozen meanwhile; then
    the critic, to tell that prediction from the truth. The trainer gives the networks, optimisers and losses:
    `recon_loss_function(logits, label)`, `g_loss_function(fake_logits, label)` and
    `d_loss_function(real_logits, fake_logits, label)`. All terms are in `engine.state.output`; what comes of VAT adds
    itself on the event after the segmenter's backward.

    Several batches may share one step of the optimisers, and several processes always do: the step is that of the
    mean gradient. Where a loss or gradient is not finite, in whatever process, all of them leave out the rest of that
    step: weights, optimisers and the critic stay as they were. After the last batch of a step, `STEP_TAKEN` in the
    output tells which it was. The critic's BatchNorm sees each batch by itself.

    Args:
        lambda_dice: weight of the Dice loss.
        lambda_critic: weight of the adversarial loss; with 0, no critic is run or trained.
        critic_start: the iteration after which the critic begins to learn and to be heard.
        critic_ramp: iterations in which its weight rises to the full one.
        accumulate: batches, and so iterations, of a step; the last one of an epoch may have fewer.

    Raises:
        BundleError: when a weight is negative.
    """

    def __init__(
        self,
        *,
        lambda_dice: float = 1.0,
        lambda_critic: float = 0.3,
        critic_start: int = 0,
        critic_ramp: int = 0,
        accumulate: int = 1,
    ) -> None:
        for name, weight in (("lambda_dice", lambda_dice), ("lambda_critic", lambda_critic)):
            if weight < 0:
                raise BundleError(f"{name} is {weight}; a loss's weight must be 0 or more.")
        self.lambda_dice = lambda_dice
        self.lambda_critic = lambda_critic
        self.critic_start = critic_start
        self.critic_ramp = critic_ramp
        self.accumulate = accumulate
        self._sound = True
        self._statistics: list[torch.Tensor] = []

    def __call__(self, engine: AdversarialTrainer, batchdata: dict[str, torch.Tensor]) -> dict[str, Any]:
        """Trains both networks on one batch.

        Returns:
            Image, label, logits (`pred`), the total loss and its terms, and the critic's logits.
        """
        image, label = engine.prepare_batch(batchdata, engine.state.device, engine.non_blocking, **engine.to_kwargs)
        engine.state.output = {Keys.IMAGE: image, Keys.LABEL: label}
        batch = window(engine.state, self.accumulate)
        if batch.begins:
            self._sound = True
            self._statistics = [b.clone() for b in engine.state.d_network.buffers()] if self.lambda_critic > 0 else []
        self._train_segmenter(engine, batch)
        engine.fire_event(Events.GENERATOR_MODEL_COMPLETED)
        # whole windows: one that the critic joins late would give it a step of fewer batches
        started = engine.state.iteration - batch.position > self.critic_start
        if self.lambda_critic > 0 and started and self._sound:
            self._train_critic(engine, batch)
            engine.fire_event(Events.DISCRIMINATOR_MODEL_COMPLETED)
        if batch.ends and not self._sound:
            for buffer, value in zip(engine.state.d_network.buffers(), self._statistics):
                buffer.copy_(value)
        if batch.ends:
            engine.state.output[STEP_TAKEN] = self._sound
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return engine.state.output

    def _train_segmenter(self, engine: AdversarialTrainer, batch: Window) -> None:
        state, output = engine.state, engine.state.output
        state.g_network.train()
        if batch.begins:
            state.g_optimizer.zero_grad(set_to_none=engine.optim_set_to_none)
        with autocast(engine):
            output[Keys.PRED] = engine.g_inferer(output[Keys.IMAGE], state.g_network)
            engine.fire_event(Events.GENERATOR_FORWARD_COMPLETED)
            dice = state.recon_loss_function(output[Keys.PRED].float(), output[Keys.LABEL]).mean()
            engine.fire_event(Events.RECONSTRUCTION_LOSS_COMPLETED)
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
        engine.fire_event(Events.GENERATOR_BACKWARD_COMPLETED)
        self._sound = self._sound and everywhere(_losses_are_finite(output))
        if batch.ends and self._sound:
            self._sound = step(state.g_network, state.g_optimizer, scaler=scaler, batches=batch.size)
        output[Keys.PRED] = output[Keys.PRED].detach()

    def _adversarial_loss(self, engine: AdversarialTrainer) -> torch.Tensor:
        state, output = engine.state, engine.state.output
        critic = state.d_network
        # frozen and in eval mode: a segmenter step leaves the critic's parameters and running statistics alone
        critic.eval().requires_grad_(False)
        output[AdversarialKeys.FAKE_LOGITS] = engine.d_inferer(output[Keys.PRED].float().sigmoid(), critic)
        critic.train().requires_grad_(True)
        engine.fire_event(Events.GENERATOR_DISCRIMINATOR_FORWARD_COMPLETED)
        loss = state.g_loss_function(output[AdversarialKeys.FAKE_LOGITS].float(), output[Keys.LABEL])
        engine.fire_event(Events.GENERATOR_LOSS_COMPLETED)
        return loss

    def _train_critic(self, engine: AdversarialTrainer, batch: Window) -> None:
        state, output = engine.state, engine.state.output
        real, fake = output[Keys.LABEL], output[Keys.PRED].float().sigmoid()
        state.d_network.train()
        if batch.begins:
            state.d_optimizer.zero_grad(set_to_none=engine.optim_set_to_none)
        with autocast(engine):
            # in one batch, so that BatchNorm cannot tell real from fake by statistics of their own
            logits = engine.d_inferer(torch.cat([real.to(fake.dtype), fake]), state.d_network).float()
            output[AdversarialKeys.REAL_LOGITS], output[AdversarialKeys.FAKE_LOGITS] = logits.detach().chunk(2)
            loss = state.d_loss_function(*logits.chunk(2), real)
        engine.fire_event(Events.DISCRIMINATOR_LOSS_COMPLETED)
        output[AdversarialKeys.DISCRIMINATOR_LOSS] = loss.detach()
        scaler = critic_scaler(engine)
        scaler.scale(loss).backward()
        engine.fire_event(Events.DISCRIMINATOR_BACKWARD_COMPLETED)
        self._sound = everywhere(_losses_are_finite(output))
        if batch.ends and self._sound:
            self._sound = step(state.d_network, state.d_optimizer, scaler=scaler, batches=batch.size)


def _losses_are_finite(output: dict[str, Any]) -> bool:
    losses = [value for value in output.values() if isinstance(value, torch.Tensor) and value.ndim == 0]
    return bool(torch.stack(losses).isfinite().all())
