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
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset, PersistentDataset
from monai.engines import AdversarialTrainer
from monai.handlers import ValidationHandler
from monai.transforms import Compose, RandFlipd, RandSpatialCropd, SpatialPadd
from monai.utils import CommonKeys as Keys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.errors import BundleError
from scripts.handlers import EpochSeedHandler, ProgressHandler, SkippedStepHandler, TensorBoardHandler, loss_terms
from scripts.metrics import REGIONS
from scripts.vat import VirtualAdversarialHandler
from tests.builders import (
    make_cases,
    make_critic,
    make_evaluator,
    make_loader,
    make_reciprocal_trainer,
    make_segmenter,
    make_voxelwise_segmenter,
)


def make_trainer(**options: Any) -> AdversarialTrainer:
    """All four losses from the first iteration on, two iterations an epoch."""
    segmenter = make_segmenter()
    vat = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=0.03)
    return make_reciprocal_trainer(segmenter, make_critic(), handlers=[vat], lambda_critic=0.3, **options)


def test_a_line_of_dice_per_region_follows_each_validation(capsys: pytest.CaptureFixture[str]) -> None:
    validator, trainer = make_evaluator(make_voxelwise_segmenter()), make_trainer(epochs=2)
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
        validator, trainer = make_evaluator(make_voxelwise_segmenter()), make_trainer(epochs=epochs)
        TensorBoardHandler(str(tmp_path), validator=validator, optimizers={}).attach(trainer)

        @trainer.on(Events.STARTED)
        def resume(engine: AdversarialTrainer, iteration: int = iteration) -> None:
            engine.state.iteration, engine.state.epoch = iteration, iteration // 2

        trainer.run()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4]


def test_tensorboard_gets_all_losses_learning_rates_and_dice(tmp_path: Path) -> None:
    validator, trainer = make_evaluator(make_voxelwise_segmenter()), make_trainer(epochs=2)
    optimizers = {"segmenter": trainer.state.g_optimizer, "critic": trainer.state.d_optimizer}
    TensorBoardHandler(str(tmp_path), validator=validator, optimizers=optimizers).attach(trainer)
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
        assert [value for _, value in written[tag]] == pytest.approx([value for _, value in values], rel=1e-5)


def name_cases(cases: list[dict[str, Any]], *, broken: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Names cases by their number; broken ones have a voxel that is no number."""
    for index, case in enumerate(cases):
        case["case"] = f"case_{index}"
        if index in broken:
            case["image"][0, 8, 8, 8] = math.nan
    return cases


def test_a_skipped_step_is_said_counted_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_trainer(loader=make_loader(name_cases(make_cases(6), broken=[3])))
    SkippedStepHandler(max_skipped=2).attach(trainer)
    counts = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: counts.append(loss_terms(trainer.state.output).get("skipped_steps"))
    )
    trainer.run()
    assert counts == [None, 1, 1]
    (message,) = caplog.messages
    assert re.search(r"iteration 2 \(loss nan, dice_loss nan.*\), cases case_2, case_3; 1 so far", message)


def test_too_many_skipped_steps_in_a_row_end_the_run_and_name_terms_and_cases() -> None:
    trainer = make_trainer(loader=make_loader(name_cases(make_cases(10), broken=[0, 4, 6])))
    SkippedStepHandler(max_skipped=2).attach(trainer)
    with pytest.raises(BundleError, match=r"iteration 4 \(loss nan, .*cases case_6, case_7: 2 steps in a row"):
        trainer.run()


def test_all_cases_of_an_accumulated_step_are_named() -> None:
    trainer = make_trainer(loader=make_loader(name_cases(make_cases(8), broken=[4])), accumulate=2)
    SkippedStepHandler(max_skipped=1).attach(trainer)
    with pytest.raises(BundleError, match="cases case_4, case_5, case_6, case_7: 1 steps"):
        trainer.run()


def test_each_process_draws_its_own_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, draws = Dataset(make_cases(1), RandFlipd("image", 0.5)), []
    for rank in (0, 1):
        monkeypatch.setattr("ignite.distributed.get_rank", lambda rank=rank: rank)
        trainer = make_trainer()
        EpochSeedHandler(dataset, seed=0)(trainer)
        draws.append((torch.rand(1).item(), dataset.transform.R.rand()))
    assert draws[0][0] != draws[1][0]
    assert draws[0][1] != draws[1][1]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epochs_patches_depend_on_seed_and_epoch_alone(workers: int, tmp_path: Path) -> None:
    keys = ["image", "label"]
    random_patches = Compose([SpatialPadd(keys, (24,) * 3), RandSpatialCropd(keys, (16,) * 3), RandFlipd(keys, 0.5)])
    dataset = PersistentDataset(make_cases(6), random_patches, cache_dir=tmp_path)
    loader = DataLoader(dataset, batch_size=2, shuffle=True, num_workers=workers)

    def patches(seed: int, *, first_epoch: int, last_epoch: int) -> dict[int, torch.Tensor]:
        torch.seed()  # what came before must not matter
        seen: dict[int, list[torch.Tensor]] = {}
        trainer = make_reciprocal_trainer(
            make_voxelwise_segmenter(), make_critic(), loader=loader, epochs=last_epoch, lambda_critic=0.0
        )
        trainer.state.epoch = first_epoch - 1
        EpochSeedHandler(dataset, seed=seed).attach(trainer)
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED,
            lambda engine: seen.setdefault(engine.state.epoch, []).append(engine.state.output[Keys.IMAGE]),
        )
        trainer.run()
        return {epoch: torch.cat(images) for epoch, images in seen.items()}

    whole, resumed = patches(0, first_epoch=1, last_epoch=3), patches(0, first_epoch=2, last_epoch=3)
    assert whole.keys() == {1, 2, 3}
    assert resumed.keys() == {2, 3}
    assert all(torch.equal(resumed[epoch], whole[epoch]) for epoch in resumed)
    other = patches(7, first_epoch=1, last_epoch=1)
    assert not any(torch.equal(whole[1], images) for images in (whole[2], whole[3], other[1]))
