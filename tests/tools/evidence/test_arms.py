# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import torch
from monai.bundle import ConfigParser

from scripts.tools.evidence.arms import ARMS, LEVERS, SMALL, schedule
from scripts.tools.evidence.cells import folder_name

BUNDLE = Path(__file__).parents[3]


def test_all_arms_start_from_the_same_weights() -> None:
    weights = []
    for arm in (ARMS | LEVERS).values():
        parser = ConfigParser()
        parser.read_config(BUNDLE / "configs/train.yaml")
        parser.update(SMALL | schedule(100) | arm | {"bundle_root": str(BUNDLE)})
        torch.manual_seed(0)
        network = parser.get_parsed_content("train#saved#network")
        weights.append(torch.cat([p.detach().flatten() for p in network.parameters()]))
    for other in weights[1:]:
        assert torch.equal(weights[0], other)


def test_every_arm_has_a_folder_of_its_own() -> None:
    names = [folder_name(arm) for arm in (*ARMS, *LEVERS)]
    assert len(set(names)) == len(names)
