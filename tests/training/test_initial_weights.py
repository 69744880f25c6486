# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from scripts.base.errors import BundleError
from scripts.training.initial_weights import InitialWeightsHandler
from tests.builders import make_segmenter, snapshot


def start(network: torch.nn.Module, path: Path | None) -> None:
    engine = Engine(lambda engine, batch: None)
    InitialWeightsHandler(network, path=None if path is None else str(path)).attach(engine)
    engine.run([0])


def test_the_network_has_the_weights_when_the_training_starts(tmp_path: Path) -> None:
    trained, network = make_segmenter(seed=1), make_segmenter()
    torch.save(trained.state_dict(), tmp_path / "model.pt")
    random = snapshot(network)
    start(network, None)
    assert all(torch.equal(random[name], tensor) for name, tensor in snapshot(network).items())
    start(network, tmp_path / "model.pt")
    assert all(torch.equal(tensor, snapshot(network)[name]) for name, tensor in snapshot(trained).items())


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"none\.pt"):
        start(make_segmenter(), tmp_path / "none.pt")
