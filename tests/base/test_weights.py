# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scripts.base.errors import BundleError
from scripts.base.weights import load_copies, load_weights
from scripts.method.networks import VolumetricCritic
from tests.builders import changed, make_critic, make_segmenter, snapshot


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
        with pytest.raises(BundleError, match=r"critic\.pt is no checkpoint, or is damaged"):
            load_weights(make_critic(), str(path))


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path, network = str(tmp_path / "model.pt"), make_critic()
    before = snapshot(network)
    torch.save(make_segmenter().state_dict(), path)
    with pytest.raises(BundleError, match=r"model\.pt is of another architecture .* differ in conv_0\.conv_0\.adn"):
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
