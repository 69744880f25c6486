# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch.nn.functional import interpolate

from scripts.inference.confidence import CriticConfidenced, SwapConfidenced
from tests.builders import changed, make_critic, snapshot
from tests.tolerances import FLOAT32


def test_confidence_is_the_critics_judgement_in_eval_mode() -> None:
    critic = make_critic()
    critic(torch.rand(4, 3, 8, 8, 8))  # running statistics that differ from those of the prediction
    before = snapshot(critic.train())
    prediction = torch.rand(3, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    item = CriticConfidenced("pred", critic)({"pred": prediction.clone(), "image": torch.zeros(4, 8, 8, 8)})
    assert changed(critic, before) == set()
    with torch.no_grad():
        expected = 1 / (1 + torch.exp(-critic.eval()(prediction[None])[0].double()))
    torch.testing.assert_close(item["confidence"].double(), expected, rtol=FLOAT32, atol=0)
    torch.testing.assert_close(item["pred"], prediction, rtol=0, atol=0)


def test_a_confidence_becomes_the_probability_of_the_region_and_back() -> None:
    item: dict[Hashable, Any] = {"pred": torch.tensor([0.9, 0.2, 0.5]), "confidence": torch.tensor([0.7, 0.6, 0.1])}
    swapped = SwapConfidenced("confidence")(item)
    torch.testing.assert_close(swapped["confidence"], torch.tensor([0.7, 0.4, 0.9]), rtol=0, atol=FLOAT32)
    back = SwapConfidenced("confidence")(swapped)["confidence"]
    torch.testing.assert_close(back, item["confidence"], rtol=0, atol=FLOAT32)


def test_between_two_voxels_on_both_sides_of_a_boundary_the_confidence_falls_to_a_half() -> None:
    prediction = torch.tensor([0.0, 0.0, 1.0, 1.0])
    swapped = SwapConfidenced("confidence")({"pred": prediction, "confidence": torch.full((4,), 0.9)})
    fine = {name: interpolate(values[None, None], size=32, mode="linear")[0, 0] for name, values in swapped.items()}
    confidence = SwapConfidenced("confidence")(fine)["confidence"]
    assert confidence[:8].min() == confidence[-8:].min() == pytest.approx(0.9, rel=FLOAT32)
    assert confidence[15:17].max() < 0.6


def test_inference_resamples_the_probability_of_the_region() -> None:
    config = yaml.safe_load((Path(__file__).parents[2] / "configs" / "inference.yaml").read_text())
    names = [transform["_target_"] for transform in config["postprocessing"]["transforms"]]
    place = names.index("Invertd")
    assert names[place - 1] == names[place + 1] == "scripts.inference.SwapConfidenced"
