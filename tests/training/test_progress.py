# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ignite.engine import Events
from monai.engines import AdversarialTrainer
from monai.handlers import ValidationHandler
from monai.utils import CommonKeys as Keys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.brats import REGIONS
from scripts.training.progress import ProgressHandler, TrainingScalarsHandler
from tests.builders import make_adversarial_trainer, make_evaluator, make_voxelwise_segmenter
from tests.tolerances import FLOAT32


def test_a_line_of_dice_per_region_follows_each_validation(capsys: pytest.CaptureFixture[str]) -> None:
    validator, trainer = make_evaluator(make_voxelwise_segmenter()), make_adversarial_trainer(epochs=2)
    ProgressHandler(validator).attach(trainer)
    ValidationHandler(2, validator).attach(trainer)
    trainer.run()
    dice = [*validator.state.metric_details["mean_dice"].mean(dim=0).tolist(), validator.state.metrics["mean_dice"]]
    assert dice[1] == 1  # the network finds the whole tumour alone
    captured = capsys.readouterr()
    figures = "  ".join(f"{name} {value:.3f}" for name, value in zip(("TC", "WT", "ET", "mean"), dice))
    assert [line for line in captured.out.splitlines() if line] == [f"epoch   2  validation Dice  {figures}"]
    bars = captured.err.split("\r")
    assert all(any(re.search(rf"training.*{name}=\d", bar) for bar in bars) for name in ("dice_loss", "critic_loss"))


def test_tensorboard_drops_what_a_resumed_run_writes_again(tmp_path: Path) -> None:
    for iteration, epochs in ((0, 3), (2, 2)):  # cut off after three epochs, resumed from the state of the first
        validator, trainer = make_evaluator(make_voxelwise_segmenter()), make_adversarial_trainer(epochs=epochs)
        TrainingScalarsHandler(str(tmp_path), validator=validator, optimizers={}).attach(trainer)

        @trainer.on(Events.STARTED)
        def resume(engine: AdversarialTrainer, iteration: int = iteration) -> None:
            engine.state.iteration, engine.state.epoch = iteration, iteration // 2

        trainer.run()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4]


def test_tensorboard_gets_all_losses_learning_rates_and_dice(tmp_path: Path) -> None:
    validator, trainer = make_evaluator(make_voxelwise_segmenter()), make_adversarial_trainer(epochs=2)
    optimizers = {"segmenter": trainer.state.g_optimizer, "critic": trainer.state.d_optimizer}
    TrainingScalarsHandler(str(tmp_path), validator=validator, optimizers=optimizers).attach(trainer)
    ValidationHandler(1, validator).attach(trainer)
    outputs = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(dict(engine.state.output)))
    trainer.run()

    events = EventAccumulator(str(tmp_path)).Reload()
    written = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    keys = {
        "loss": Keys.LOSS,
        "dice_loss": "reconstruction_loss",
        "vat_loss": "vat_loss",
        "adversarial_loss": "generator_loss",
        "critic_loss": "discriminator_loss",
    }
    wanted = {f"train/{name}": [(i + 1, float(o[key])) for i, o in enumerate(outputs)] for name, key in keys.items()}
    wanted |= {"lr/segmenter": [(i, 2e-4) for i in (1, 2, 3, 4)], "lr/critic": [(i, 5e-5) for i in (1, 2, 3, 4)]}
    dice = dict(zip(REGIONS, validator.state.metric_details["mean_dice"].mean(dim=0).tolist()))
    dice["mean"] = validator.state.metrics["mean_dice"]
    wanted |= {f"validation_dice/{name}": [(i, value) for i in (2, 4)] for name, value in dice.items()}
    assert written.keys() == wanted.keys()
    for tag, values in wanted.items():
        assert [step for step, _ in written[tag]] == [step for step, _ in values]
        assert [value for _, value in written[tag]] == pytest.approx([value for _, value in values], rel=FLOAT32)
