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

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from ignite import distributed as idist
from ignite.engine import Engine, Events
from ignite.handlers import ProgressBar, TensorboardLogger
from monai.data import set_rnd
from monai.engines import Evaluator, Trainer
from monai.utils.enums import AdversarialKeys
from monai.utils.enums import CommonKeys as Keys
from torch.optim import Optimizer
from torch.utils.data import Dataset

from scripts.distributed import gathered
from scripts.engine_step import STEP_TAKEN
from scripts.errors import BundleError
from scripts.metrics import REGIONS

logger = logging.getLogger(__name__)

SKIPPED_STEPS = "skipped_steps"

# the loss terms by the names under which people see them, and where the trainer's output holds them
LOSS_TERMS = {
    "dice_loss": AdversarialKeys.RECONSTRUCTION_LOSS,
    "vat_loss": "vat_loss",
    "unlabelled_vat_loss": "unlabelled_vat_loss",
    "adversarial_loss": AdversarialKeys.GENERATOR_LOSS,
    "critic_loss": AdversarialKeys.DISCRIMINATOR_LOSS,
    SKIPPED_STEPS: SKIPPED_STEPS,
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
        """Hooks the writers, and opens the event file when the first epoch starts, which may be a resumed one."""
        self.logger: Any = None
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write_losses)
        self.validator.add_event_handler(Events.EPOCH_COMPLETED, self._write_dice, engine)
        engine.add_event_handler(Events.COMPLETED, self._close)

    def _open(self, engine: Trainer) -> None:
        if self.logger is None:
            # what a run that was cut off has written of iterations that now come again is dropped
            self.logger = TensorboardLogger(log_dir=self.log_dir, purge_step=engine.state.iteration + 1)

    def _close(self) -> None:
        if self.logger is not None:
            self.logger.close()
        self.logger = None

    def _write_losses(self, engine: Trainer) -> None:
        for name, value in loss_terms(engine.state.output).items():
            self.logger.writer.add_scalar(f"train/{name}", value, engine.state.iteration)
        for name, optimizer in self.optimizers.items():
            self.logger.writer.add_scalar(f"lr/{name}", optimizer.param_groups[0]["lr"], engine.state.iteration)
        self.logger.writer.flush()  # what a state holds has been logged

    def _write_dice(self, validator: Evaluator, trainer: Trainer) -> None:
        self._open(trainer)  # a federation also validates between two trainings
        for name, value in dice_per_region(validator).items():
            self.logger.writer.add_scalar(f"validation_dice/{name}", value, trainer.state.iteration)
        self.logger.writer.flush()


class SkippedStepHandler:
    """Counts the steps that `ReciprocalStep` left out because a loss or gradient was not finite, and says each.

    A single one costs nothing but its batches. After several in a row it stops the run: weights and saved states are
    those of before.

    Args:
        max_skipped: how many in a row stop the run.
    """

    def __init__(self, *, max_skipped: int) -> None:
        self.max_skipped = max_skipped
        self.skipped = 0
        self.in_a_row = 0
        self._cases: list[str] = []

    def attach(self, engine: Trainer) -> None:
        """Hooks the count behind each iteration; attach it before what shows the loss terms."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Trainer) -> None:
        """Counts, in all processes alike.

        Raises:
            BundleError: naming the loss terms and the cases of the step, when it is one too many.
        """
        output: dict[str, Any] = engine.state.output
        self._cases += engine.state.batch.get("case", ["unnamed"])
        if self.skipped:
            output[SKIPPED_STEPS] = self.skipped
        taken = output.get(STEP_TAKEN)
        if taken is None:
            return
        if taken:
            self.in_a_row = 0
        else:
            self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
            output[SKIPPED_STEPS] = self.skipped
            self._report(engine, gathered(self._cases))
        self._cases.clear()

    def _report(self, engine: Trainer, cases: list[str]) -> None:
        terms = ", ".join(f"{name} {value:.3g}" for name, value in loss_terms(engine.state.output).items())
        found = f"loss or gradient not finite at iteration {engine.state.iteration} ({terms}), cases {', '.join(cases)}"
        if self.in_a_row >= self.max_skipped:
            raise BundleError(
                f"{found}: {self.in_a_row} steps in a row were skipped, and training stops; weights and saved states "
                f"are those of before. Look at these cases, lower --learning_rate or the weight of that term; "
                f"with --amp_dtype float16, try bfloat16."
            )
        logger.warning(f"step skipped, {found}; {self.skipped} so far, {self.in_a_row} in a row")


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
        """Seeds PyTorch, which shuffles the cases, and the random transforms; differently in each process."""
        # a 0 at the end, as of a process that is alone, leaves the seed as it is without
        words = (self.seed, engine.state.epoch, idist.get_rank())
        seed = int(np.random.SeedSequence(words).generate_state(1)[0])
        torch.manual_seed(seed)
        set_rnd(self.dataset, seed)


def loss_terms(output: Mapping[str, Any]) -> dict[str, float]:
    """Gives the loss terms of a trainer's output as numbers by their names: the total, and those that were computed.

    Also how many steps have been skipped, if any.
    """
    terms = {"loss": float(output[Keys.LOSS])}
    return terms | {name: float(output[key]) for name, key in LOSS_TERMS.items() if key in output}


def dice_per_region(validator: Evaluator) -> dict[str, float]:
    """Gives the last validation's Dice of each region and their mean, the validator's key metric."""
    name = validator.state.key_metric_name
    means = validator.state.metric_details[name].mean(dim=0).tolist()
    return dict(zip(REGIONS, means)) | {"mean": float(validator.state.metrics[name])}
