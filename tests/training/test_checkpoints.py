# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import torch
from ignite.engine import Events
from torch import nn

from scripts.training.checkpoints import BestWeightsHandler, RestartBestHandler
from tests.builders import (
    make_critic,
    make_evaluator,
    make_loader,
    make_reciprocal_trainer,
    make_segmenter,
    make_voxelwise_segmenter,
)
from tests.outputs import results_in


def test_the_best_weights_are_kept_and_the_file_that_was_there(tmp_path: Path) -> None:
    segmenter, critic = make_voxelwise_segmenter(), make_critic()
    torch.save(make_voxelwise_segmenter(bias=7.0).state_dict(), tmp_path / "model.pt")
    handler = BestWeightsHandler(str(tmp_path), networks={"model": segmenter, "critic": critic})
    evaluator = make_evaluator(segmenter, handlers=[handler])
    kept = []
    for epoch, bias in enumerate([10.0, -5.0, 10.0, -5.0], start=1):
        nn.init.constant_(segmenter.get_parameter("bias"), bias)
        nn.init.constant_(critic.get_parameter("layers.3.conv.bias"), epoch)
        evaluator.run(epoch)
        kept.append(torch.load(tmp_path / "model.pt", weights_only=True)["bias"][0].item())
    # the whole volume as tumour, all of the tumour, and then nothing that is better
    assert kept == [10, -5, -5, -5]
    assert torch.load(tmp_path / "critic.pt", weights_only=True)["layers.3.conv.bias"].tolist() == [2, 2, 2]
    assert torch.load(tmp_path / "model.previous.pt", weights_only=True)["bias"].tolist() == [7, 7, 7]
    assert results_in(tmp_path) == {"model.pt", "model.previous.pt", "critic.pt"}


def test_the_weights_that_were_there_first_outlive_every_later_run(tmp_path: Path) -> None:
    shipped = make_voxelwise_segmenter(bias=7.0)
    torch.save(shipped.state_dict(), tmp_path / "model.pt")
    segmenter = make_voxelwise_segmenter()
    for _ in range(3):
        handler = BestWeightsHandler(str(tmp_path), networks={"model": segmenter})
        make_evaluator(segmenter, handlers=[handler]).run(1)
    assert torch.load(tmp_path / "model.previous.pt", weights_only=True)["bias"].tolist() == [7, 7, 7]
    assert results_in(tmp_path) == {"model.pt", "model.previous.pt", "model.previous-2.pt"}


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
