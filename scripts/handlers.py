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

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar, TensorboardLogger
from monai.data import set_rnd
from monai.engines import Evaluator, Trainer
from monai.utils.enums import AdversarialKeys
from monai.utils.enums import CommonKeys as Keys
from torch.optim import Optimizer
from torch.utils.data import Dataset

from scripts.errors import BundleError
from scripts.metrics import REGIONS

# the loss terms by the names under which people see them, and where the trainer's output holds them
LOSS_TERMS = {
    "dice_loss": AdversarialKeys.RECONSTRUCTION_LOSS,
    "vat_loss": "vat_loss",
    "unlabelled_vat_loss": "unlabelled_vat_loss",
    "adversarial_loss": AdversarialKeys.GENERATOR_LOSS,
    "critic_loss": AdversarialKeys.DISCRIMINATOR_LOSS,
}


class ProgressHandler:
    """Shows a progress bar (Ignite's) with the loss terms, and a line of Dice per region after each validation.

    Args:
        validator: whose metrics are shown.
    """

    def __init__(self, validator: Evaluator) -> None:
        self.validator = validator
        self.bar = ProgressBar(persist=False, desc="training")

    def attach(self, engine: Trainer) -> None:
        """Hooks the bar to the trainer and the line to the validator."""
        self.bar.attach(engine, output_transform=loss_terms)
        self.validator.add_event_handler(Events.EPOCH_COMPLETED, self._log_validation, engine)

    def _log_validation(self, validator: Evaluator, trainer: Trainer) -> None:
        dice = dice_per_region(validator)
        figures = "  ".join(f"{name} {value:.3f}" for name, value in dice.items())
        self.bar.log_message(f"epoch {trainer.state.epoch:3d}  validation Dice  {figures}")


class TensorBoardHandler:
    """Writes the loss terms, the learning rates and the validation's Dice per region for TensorBoard.

    Args:
        log_dir: the folder of the event files.
        validator: whose metrics are written.
        optimizers: whose learning rates are written, by name.
    """

    def __init__(self, log_dir: str, *, validator: Evaluator, optimizers: Mapping[str, Optimizer]) -> None:
        self.log_dir = log_dir
        self.validator = validator
        self.optimizers = optimizers

    def attach(self, engine: Trainer) -> None:
        """Opens the event file when the run starts and hooks the writers."""
        engine.add_event_handler(Events.STARTED, self._start)

    def _start(self, engine: Trainer) -> None:
        self.logger = TensorboardLogger(log_dir=self.log_dir)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write_losses)
        self.validator.add_event_handler(Events.EPOCH_COMPLETED, self._write_dice, engine)
        engine.add_event_handler(Events.COMPLETED, lambda _: self.logger.close())

    def _write_losses(self, engine: Trainer) -> None:
        for name, value in loss_terms(engine.state.output).items():
            self.logger.writer.add_scalar(f"train/{name}", value, engine.state.iteration)
        for name, optimizer in self.optimizers.items():
            self.logger.writer.add_scalar(f"lr/{name}", optimizer.param_groups[0]["lr"], engine.state.iteration)

    def _write_dice(self, validator: Evaluator, trainer: Trainer) -> None:
        for name, value in dice_per_region(validator).items():
            self.logger.writer.add_scalar(f"validation_dice/{name}", value, trainer.state.iteration)


class NonFiniteLossHandler:
    """Stops a run whose loss is no longer a number; the best weights and the last saved state stay as they are."""

    def attach(self, engine: Trainer) -> None:
        """Hooks the check behind each iteration."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Trainer) -> None:
        """Checks the total loss and every term.

        Raises:
            BundleError: naming the terms, when one is not finite.
        """
        terms = loss_terms(engine.state.output)
        if not all(math.isfinite(value) for value in terms.values()):
            found = ", ".join(f"{name} {value:.3g}" for name, value in terms.items())
            raise BundleError(
                f"the loss is not finite at iteration {engine.state.iteration} ({found}); training stops. "
                f"Lower --learning_rate or the weight of that term; with --amp_dtype float16, try bfloat16."
            )


class EpochSeedHandler:
    """Makes each epoch's random numbers depend on seed and epoch alone, so that a resumed run draws the same.

    Args:
        dataset: whose random transforms are seeded.
        seed: of the run.
    """

    def __init__(self, dataset: Dataset, *, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def attach(self, engine: Trainer) -> None:
        """Hooks the seeding before each epoch's first batch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seeds PyTorch, which shuffles the cases, and the random transforms."""
        seed = int(np.random.SeedSequence((self.seed, engine.state.epoch)).generate_state(1)[0])
        torch.manual_seed(seed)
        set_rnd(self.dataset, seed)


def loss_terms(output: Mapping[str, Any]) -> dict[str, float]:
    """Gives the loss terms of a trainer's output as numbers by their names: the total, and those that were computed."""
    terms = {"loss": float(output[Keys.LOSS])}
    return terms | {name: float(output[key]) for name, key in LOSS_TERMS.items() if key in output}


def dice_per_region(validator: Evaluator) -> dict[str, float]:
    """Gives the last validation's Dice of each region and their mean, the validator's key metric."""
    name = validator.state.key_metric_name
    means = validator.state.metric_details[name].mean(dim=0).tolist()
    return dict(zip(REGIONS, means)) | {"mean": float(validator.state.metrics[name])}
