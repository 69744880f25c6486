# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Events
from monai.data import Dataset
from monai.handlers import CheckpointLoader, LrScheduleHandler, ValidationHandler
from monai.transforms import Compose, RandFlipd, RandSpatialCropd, SpatialPadd, ToTensord
from torch.optim.lr_scheduler import PolynomialLR

from scripts.base.errors import BundleError
from scripts.method.vat import VirtualAdversarialHandler
from scripts.training.resume.loader import ResumableDataLoader
from scripts.training.resume.run_state import RunState
from scripts.training.resume.state_files import StateSaver
from scripts.training.seeding import EpochSeedHandler
from scripts.training.weight_average import WeightAverage, WeightAverageHandler
from tests.builders import (
    make_cases,
    make_critic,
    make_evaluator,
    make_reciprocal_trainer,
    make_segmenter,
    make_voxelwise_segmenter,
)


def train(folder: Path, *, epochs: int, seed: int, resume: Path | None = None) -> list[float]:
    """Trains as train.yaml does, in objects of its own, and returns the losses."""
    segmenter, critic = make_segmenter(seed), make_critic(seed)
    keys = ["image", "label"]
    patches = [SpatialPadd(keys, (20,) * 3), RandSpatialCropd(keys, (16,) * 3), RandFlipd(keys, 0.5)]
    dataset = Dataset(make_cases(), Compose([*patches, ToTensord(keys, track_meta=False)]))
    loader = ResumableDataLoader(dataset, batch_size=2, shuffle=True)
    trainer = make_reciprocal_trainer(segmenter, critic, loader=loader, epochs=epochs, lambda_critic=0.3)
    evaluator = make_evaluator(segmenter)
    saved: dict[str, Any] = {
        "network": segmenter,
        "critic": critic,
        "optimizer": trainer.state.g_optimizer,
        "critic_optimizer": trainer.state.d_optimizer,
        "lr_scheduler": PolynomialLR(trainer.state.g_optimizer, total_iters=4, power=0.9),
        "average": WeightAverage(segmenter, momentum=0.3),
        "run_state": RunState(evaluator, loader=loader),
    }
    handlers = [
        EpochSeedHandler(dataset, seed=0),
        VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=0.03, target="prediction"),
        WeightAverageHandler(saved["average"], validator=evaluator),
        ValidationHandler(1, evaluator),
        LrScheduleHandler(saved["lr_scheduler"], print_lr=False),
        saved["run_state"],
        StateSaver(str(folder), saved=saved, interval=2),
    ]
    if resume is not None:
        handlers.append(CheckpointLoader(str(resume), saved))
    for handler in handlers:
        handler.attach(trainer)
    losses: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: losses.append(trainer.state.output["loss"].item()))
    trainer.run()
    return losses


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    losses = train(tmp_path / "whole", epochs=4, seed=0)
    first_losses = train(tmp_path / "first", epochs=2, seed=0)
    state = tmp_path / "first" / "state_iteration=4.pt"
    last_losses = train(tmp_path / "last", epochs=4, seed=1, resume=state)
    assert len(losses) == 8
    assert [*first_losses, *last_losses] == losses

    half, whole, resumed = (
        torch.load(path, weights_only=True)
        for path in (
            state,
            tmp_path / "whole" / "state_iteration=8.pt",
            tmp_path / "last" / "state_iteration=8.pt",
        )
    )
    networks = {"network", "critic", "optimizer", "critic_optimizer", "lr_scheduler", "average"}
    assert whole.keys() == {*networks, "run_state"}
    for name in whole:
        assert not equal(half[name], whole[name])
        assert equal(resumed[name], whole[name]), name
    assert (whole["run_state"]["epoch"], whole["run_state"]["iteration"]) == (4, 8)


def test_best_metric_and_scalers_come_back(tmp_path: Path) -> None:
    states = []
    for scale, bias in ((1024.0, -5.0), (1.0, 10.0)):
        trainer = make_reciprocal_trainer(make_segmenter(), make_critic(), amp_dtype=torch.float16)
        for name in ("g_scaler", "d_scaler"):  # enabled on the CPU too, where the trainer's own would rest
            setattr(trainer.state, name, torch.amp.GradScaler("cpu", init_scale=scale))
        evaluator = make_evaluator(make_voxelwise_segmenter(bias))
        evaluator.run(global_epoch=int(scale))
        run_state = RunState(evaluator)
        run_state.attach(trainer)
        states.append((run_state, trainer, evaluator))
    (kept, _, first), (run_state, trainer, evaluator) = states
    assert evaluator.state.best_metric < first.state.best_metric

    torch.save(kept.state_dict(), tmp_path / "state.pt")
    run_state.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert evaluator.state.best_metric == first.state.best_metric
    assert evaluator.state.best_metric_epoch == 1024
    assert trainer.state.g_scaler.get_scale() == trainer.state.d_scaler.get_scale() == 1024


def test_a_state_from_within_an_epoch_is_for_the_same_batches_only(tmp_path: Path) -> None:
    trainer = make_reciprocal_trainer(make_segmenter(), make_critic())
    run_state = RunState(make_evaluator(make_voxelwise_segmenter()), loader=ResumableDataLoader(Dataset(make_cases())))
    run_state.attach(trainer)
    state = run_state.state_dict() | {"epoch": 3, "iteration": 5, "epoch_length": 2}
    run_state.load_state_dict(state)
    assert (trainer.state.epoch, trainer.state.iteration) == (2, 5)
    with pytest.raises(BundleError, match="within an epoch of 3 iterations, but an epoch now has 2"):
        run_state.load_state_dict(state | {"epoch_length": 3})
