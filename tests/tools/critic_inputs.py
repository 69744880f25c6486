# SPDX-License-Identifier: Apache-2.0
"""Predictions, phantoms and an untrained segmenter for the tests of the critic's tools."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from monai.networks.nets import BasicUNet

from scripts.data.datalist import write_datalist
from scripts.data.discovery import find_cases
from scripts.data.phantoms import make_cohort
from scripts.tools.critic_predictions import Record


def make_records(count: int = 3) -> list[Record]:
    """Tumours that the image shows, found a few voxels beside where they are, by a segmenter that is sure of it."""
    records = []
    for index in range(count):
        label = torch.zeros(3, 24, 24, 24)
        label[:, 8:16, 6 + index : 14 + index, 8:16] = 1
        logits = 6 * label.roll(3, dims=1) - 3
        records.append({"image": label[:1].repeat(4, 1, 1, 1).half(), "logits": logits.half(), "label": label.byte()})
    return records


def settings(folder: Path) -> str:
    return json.dumps({"features": 8, "critic_features": 2, "spacing": 5.0, "cache_dir": str(folder / "cache")})


def make_inputs(folder: Path) -> list[str]:
    """Phantoms to train with, others to calibrate with, and an untrained segmenter: arguments of the command."""
    make_cohort(folder / "cases", cases=3, shape=(48, 48, 40))
    others = Path(make_cohort(folder / "others", cases=2, shape=(48, 48, 40), seed=1))
    for path in sorted(others.rglob("phantom_*"), reverse=True):
        path.rename(path.with_name(path.name.replace("phantom", "other")))
    torch.manual_seed(0)
    segmenter = BasicUNet(
        spatial_dims=3,
        in_channels=4,
        out_channels=3,
        features=[8 * factor for factor in (1, 2, 4, 8, 8, 1)],
        norm=("group", {"num_groups": 8}),
        upsample="nontrainable",
    )
    torch.save(segmenter.state_dict(), folder / "model.pt")
    write_datalist(str(folder / "list.json"), find_cases(str(folder / "cases")), find_cases(str(others)))
    places = {"model": "model.pt", "output": "critic.pt", "predictions_dir": "predictions"}
    words = [word for name, place in places.items() for word in (f"--{name}", str(folder / place))]
    return [str(folder / "list.json"), *words, "--steps", "3", "--settings", settings(folder)]
