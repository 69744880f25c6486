# SPDX-License-Identifier: Apache-2.0
"""Progress of a training: progress bar, a line for each validation, and scalars for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ignite.engine import Events
from ignite.handlers import ProgressBar, TensorboardLogger
from monai.engines import Evaluator, Trainer
from monai.utils.enums import AdversarialKeys
from monai.utils.enums import CommonKeys as Keys
from torch.optim import Optimizer

from scripts.brats import REGIONS

SKIPPED_STEPS = "skipped_steps"

# displayed names of the loss terms, and their keys in the trainer's output
LOSS_TERMS = {
    "dice_loss": AdversarialKeys.RECONSTRUCTION_LOSS,
    "vat_loss": "vat_loss",
    "unlabelled_vat_loss": "unlabelled_vat_loss",
    "adversarial_loss": AdversarialKeys.GENERATOR_LOSS,
    "critic_loss": AdversarialKeys.DISCRIMINATOR_LOSS,
    SKIPPED_STEPS: SKIPPED_STEPS,
}


class ProgressHandler:
    """Shows Ignite's progress bar with the loss terms, and a line with the Dice of each region after each validation.

    Args:
        validator: evaluator whose metrics are shown.
    """

    def __init__(self, validator: Evaluator) -> None:
        self.validator = validator
        self.bar = ProgressBar(persist=False, desc="training")

    def attach(self, engine: Trainer) -> None:
        """Attaches the bar to the trainer and registers the line on the end of each validation."""
        self.bar.attach(engine, output_transform=loss_terms)
        self.validator.add_event_handler(Events.EPOCH_COMPLETED, self._log_validation, engine)

    def _log_validation(self, validator: Evaluator, trainer: Trainer) -> None:
        dice = dice_per_region(validator)
        values = "  ".join(f"{name} {value:.3f}" for name, value in dice.items())
        self.bar.log_message(f"epoch {trainer.state.epoch:3d}  validation Dice  {values}")


class TrainingScalarsHandler:
    """Writes loss terms, learning rates and the validation's Dice of each region for TensorBoard.

    Args:
        log_dir: folder of the event files.
        validator: evaluator whose metrics are written.
        optimizers: optimisers whose learning rates are written, by name.
    """

    def __init__(self, log_dir: str, *, validator: Evaluator, optimizers: Mapping[str, Optimizer]) -> None:
        self.log_dir = log_dir
        self.validator = validator
        self.optimizers = optimizers

    def attach(self, engine: Trainer) -> None:
        """Registers the writers; the event file is opened when the first epoch starts, which may be a resumed one."""
        self.logger: Any = None
        engine.add_event_handler(Events.EPOCH_STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write_losses)
        self.validator.add_event_handler(Events.EPOCH_COMPLETED, self._write_dice, engine)
        engine.add_event_handler(Events.COMPLETED, self._close)

    def _open(self, engine: Trainer) -> None:
        if self.logger is None:
            # scalars that an interrupted run wrote after its last state are written a second time: drop the first ones
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
        self.logger.writer.flush()  # before a state is saved that includes this iteration

    def _write_dice(self, validator: Evaluator, trainer: Trainer) -> None:
        self._open(trainer)  # a federated site also validates between two trainings
        for name, value in dice_per_region(validator).items():
            self.logger.writer.add_scalar(f"validation_dice/{name}", value, trainer.state.iteration)
        self.logger.writer.flush()


def loss_terms(output: Mapping[str, Any]) -> dict[str, float]:
    """Returns the total loss, the loss terms that were computed and the number of skipped steps, if any, by name."""
    terms = {"loss": float(output[Keys.LOSS])}
    return terms | {name: float(output[key]) for name, key in LOSS_TERMS.items() if key in output}


def dice_per_region(validator: Evaluator) -> dict[str, float]:
    """Returns the Dice of each region and their mean, the validator's key metric, of the last validation."""
    name = validator.state.key_metric_name
    means = validator.state.metric_details[name].mean(dim=0).tolist()
    return dict(zip(REGIONS, means)) | {"mean": float(validator.state.metrics[name])}
