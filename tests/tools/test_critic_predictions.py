# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import torch

from scripts.tools.critic_predictions import Patches, Predictions, Record
from scripts.tools.train_critic import read_config
from tests.tools.critic_inputs import make_inputs, make_records, settings


def test_patches_repeat_by_their_seed_and_hold_what_the_records_hold() -> None:
    def draw(seed: int) -> Record:
        return next(Patches(make_records(), seed=seed, edge=16).batches())

    first = draw(0)
    assert all(torch.equal(first[name], values) for name, values in draw(0).items())
    assert any(not torch.equal(first[name], values) for name, values in draw(1).items())
    # the image shows the label, also where the patch was flipped
    assert torch.equal(first["image"][:, :1] > 0.5, first["label"][:, :1] > 0.5)


def test_two_segmenters_of_one_config_keep_their_weights(tmp_path: Path) -> None:
    make_inputs(tmp_path)
    config = read_config(json.loads(settings(tmp_path)), seed=0)
    weights = torch.load(tmp_path / "model.pt", weights_only=True)
    torch.save({name: weight + 1 for name, weight in weights.items()}, tmp_path / "other.pt")
    first, _ = (Predictions(config, str(tmp_path / name), folder=str(tmp_path)) for name in ("model.pt", "other.pt"))
    assert all(torch.equal(weight, weights[name]) for name, weight in first.segmenter.state_dict().items())
