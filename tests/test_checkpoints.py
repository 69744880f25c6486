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

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset
from monai.handlers import CheckpointLoader, CheckpointSaver, LrScheduleHandler, ValidationHandler
from monai.transforms import Compose, RandFlipd, RandSpatialCropd, SpatialPadd, ToTensord
from torch import nn
from torch.optim.lr_scheduler import PolynomialLR

from scripts.checkpoints import BestWeightsHandler, RestartBestHandler, RunState, load_copies, load_weights
from scripts.errors import BundleError
from scripts.handlers import EpochSeedHandler
from scripts.networks import VolumetricCritic
from scripts.vat import VirtualAdversarialHandler
from tests.builders import (
    changed,
    make_cases,
    make_critic,
    make_evaluator,
    make_loader,
    make_reciprocal_trainer,
    make_segmenter,
    make_voxelwise_segmenter,
    snapshot,
)


def test_the_best_weights_are_kept_and_the_file_that_was_there(tmp_path: Path) -> None:
    segmenter, critic = make_voxelwise_segmenter(), make_critic()
    torch.save(make_voxelwise_segmenter(bias=7.0).state_dict(), tmp_path / "model.pt")
    handler = BestWeightsHandler(str(tmp_path), networks={"model": segmenter, "critic": critic})
    evaluator = make_evaluator(segmenter, handlers=[handler])
    kept = []
    for epoch, bias in enumerate([10.0, -5.0, 10.0, -5.0], start=1):
        nn.init.constant_(segmenter.get_parameter("bias"), bias)
        nn.init.constant_(critic.get_parameter("3.conv.bias"), epoch)
        evaluator.run(epoch)
        kept.append(torch.load(tmp_path / "model.pt", weights_only=True)["bias"][0].item())
    # the whole volume as tumour, all of the tumour, and then nothing that is better
    assert kept == [10, -5, -5, -5]
    assert torch.load(tmp_path / "critic.pt", weights_only=True)["3.conv.bias"].tolist() == [2, 2, 2]
    assert torch.load(tmp_path / "model.previous.pt", weights_only=True)["bias"].tolist() == [7, 7, 7]
    assert {path.name for path in tmp_path.iterdir()} == {"model.pt", "model.previous.pt", "critic.pt"}


def test_the_best_weights_are_none_of_before_the_adversaries(tmp_path: Path) -> None:
    judged = make_voxelwise_segmenter()
    torch.save(make_voxelwise_segmenter(bias=7.0).state_dict(), tmp_path / "model.pt")
    evaluator = make_evaluator(judged, handlers=[BestWeightsHandler(str(tmp_path), networks={"model": judged})])
    trainer = make_reciprocal_trainer(make_segmenter(), make_critic(), epochs=5)
    RestartBestHandler(evaluator, until=2 * len(make_loader())).attach(trainer)
    kept = []

    @trainer.on(Events.EPOCH_COMPLETED)
    def validate() -> None:
        # the tumour, thrice the whole volume, and the tumour again
        nn.init.constant_(judged.get_parameter("bias"), [-5.0, 10.0, 11.0, 12.0, -4.0][trainer.state.epoch - 1])
        evaluator.run(trainer.state.epoch)
        kept.append(torch.load(tmp_path / "model.pt", weights_only=True)["bias"][0].item())

    trainer.run()
    assert kept == [-5, 10, 11, 11, -4]
    assert torch.load(tmp_path / "model.previous.pt", weights_only=True)["bias"].tolist() == [7, 7, 7]


def train(folder: Path, *, epochs: int, seed: int, resume: Path | None = None) -> list[tuple[float, ...]]:
    """Trains as train.yaml does, in objects of its own, and gives the random numbers that were drawn meanwhile."""
    random.seed(seed)
    np.random.seed(seed)
    segmenter, critic = make_segmenter(seed), make_critic(seed)
    keys = ["image", "label"]
    patches = [SpatialPadd(keys, (20,) * 3), RandSpatialCropd(keys, (16,) * 3), RandFlipd(keys, 0.5)]
    dataset = Dataset(make_cases(), Compose([*patches, ToTensord(keys, track_meta=False)]))
    loader = DataLoader(dataset, batch_size=2, shuffle=True)
    trainer = make_reciprocal_trainer(segmenter, critic, loader=loader, epochs=epochs, lambda_critic=0.3)
    evaluator = make_evaluator(segmenter)
    saved: dict[str, Any] = {
        "network": segmenter,
        "critic": critic,
        "optimizer": trainer.state.g_optimizer,
        "critic_optimizer": trainer.state.d_optimizer,
        "lr_scheduler": PolynomialLR(trainer.state.g_optimizer, total_iters=4, power=0.9),
        "run_state": RunState(evaluator),
    }
    handlers = [
        EpochSeedHandler(dataset, seed=0),
        VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=0.03, target="prediction"),
        ValidationHandler(1, evaluator),
        LrScheduleHandler(saved["lr_scheduler"], print_lr=False),
        saved["run_state"],
        CheckpointSaver(str(folder), saved, file_prefix="state", save_interval=2, n_saved=2),
    ]
    if resume is not None:
        handlers.append(CheckpointLoader(str(resume), saved))
    for handler in handlers:
        handler.attach(trainer)
    draws: list[tuple[float, ...]] = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED,
        lambda: draws.append((random.gauss(0, 1), np.random.standard_normal(), torch.rand(()).item())),
    )
    trainer.run()
    return draws


def equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    draws = train(tmp_path / "whole", epochs=4, seed=0)
    first_draws = train(tmp_path / "first", epochs=2, seed=0)
    state = tmp_path / "first" / "state_checkpoint_epoch=2.pt"
    last_draws = train(tmp_path / "last", epochs=4, seed=1, resume=state)
    assert len(draws) == 8
    assert [*first_draws, *last_draws] == draws

    half, whole, resumed = (
        torch.load(path, weights_only=True)
        for path in (
            state,
            tmp_path / "whole" / "state_checkpoint_epoch=4.pt",
            tmp_path / "last" / "state_checkpoint_epoch=4.pt",
        )
    )
    assert whole.keys() == {"network", "critic", "optimizer", "critic_optimizer", "lr_scheduler", "run_state"}
    for name in whole:
        assert not equal(half[name], whole[name])
        assert equal(resumed[name], whole[name]), name
    assert (whole["run_state"]["epoch"], whole["run_state"]["iteration"]) == (4, 8)


def test_best_metric_scalers_and_random_numbers_come_back(tmp_path: Path) -> None:
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
    draws = torch.rand(4)
    run_state.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(torch.rand(4), draws)
    assert evaluator.state.best_metric == first.state.best_metric
    assert evaluator.state.best_metric_epoch == 1024
    assert trainer.state.g_scaler.get_scale() == trainer.state.d_scaler.get_scale() == 1024


def test_weights_are_loaded_into_the_network(tmp_path: Path) -> None:
    trained, path = make_critic(seed=5), str(tmp_path / "critic.pt")
    torch.save(trained.state_dict(), path)
    network = make_critic(seed=6)
    assert load_weights(network, path) is network
    assert changed(network, snapshot(trained)) == set()


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "critic.pt"
    with pytest.raises(BundleError, match=r"no weights at .*critic\.pt: train first"):
        load_weights(make_critic(), str(path))
    torch.save(make_critic().state_dict(), path)
    whole = path.read_bytes()
    torch.save([1, 2], path)
    for content in (path.read_bytes(), whole[: len(whole) // 2], b"", b"a text\n", b"version https://git-lfs"):
        path.write_bytes(content)
        with pytest.raises(BundleError, match=r"critic\.pt is no checkpoint, or a damaged one"):
            load_weights(make_critic(), str(path))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path, network = str(tmp_path / "model.pt"), make_critic()
    before = snapshot(network)
    torch.save(make_segmenter().state_dict(), path)
    with pytest.raises(BundleError, match=r"model\.pt is of another architecture .* differ in 0\.adn"):
        load_weights(network, path)
    torch.save(VolumetricCritic(channels=(4, 8, 16)).state_dict(), path)
    with pytest.raises(BundleError, match=r"2\.conv\.weight has shape \(16, 8, 3, 3, 3\) there and \(8, 8, 3, 3, 3\)"):
        load_weights(network, path)
    assert changed(network, before) == set()


def test_copies_hold_the_weights_of_their_files_and_leave_the_network_alone(tmp_path: Path) -> None:
    network = make_critic(seed=5)
    before, paths = snapshot(network), []
    for seed in (6, 7):
        paths.append(str(tmp_path / f"{seed}.pt"))
        torch.save(make_critic(seed=seed).state_dict(), paths[-1])
    copies = load_copies(network, paths)
    assert changed(network, before) == set()
    for copy, seed in zip(copies, (6, 7)):
        assert changed(copy, snapshot(make_critic(seed=seed))) == set()
        assert not copy.training
