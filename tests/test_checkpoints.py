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

from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from torch import nn

from scripts.checkpoints import BestWeightsHandler, RestartBestHandler, load_copies, load_weights
from scripts.errors import BundleError
from scripts.networks import VolumetricCritic
from tests.builders import (
    changed,
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
    middle = len(whole) // 2  # in the largest weights, where PyTorch itself would read another number
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    other = path.read_bytes()
    for content in (other, whole[:middle], flipped, b"", b"a text\n", b"version https://git-lfs"):
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
