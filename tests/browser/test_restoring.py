# SPDX-License-Identifier: Apache-2.0
"""Each step from the network's output to the label map and what is said of it, compared with Python's."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, cast

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.inferers import SlidingWindowInferer

from scripts.brats import REGIONS
from scripts.evaluation.reliability.expected_dice import expectation
from scripts.inference.confidence import SwapConfidenced
from scripts.inference.postprocessing import RegionsToLabelsd
from tests.browser.served import call, volume
from tests.tolerances import EXACT, FLOAT32

# a network that looks at its neighbours, and so sees where a window ends
SLIDE = """async ([data, shape]) => {
  const { slideOver } = await import(new URL("steps/windows.js", location.href));
  const blur = (part, [x, y, z]) => Float32Array.from(part, (value, at) => value + 0.5 * (at % z ? part[at - 1] : 0));
  const found = await slideOver({ data: Float32Array.from(data), shape }, 2, 2, 16, blur);
  return [...found];
}"""


@pytest.mark.parametrize("shape", [(16, 16, 16), (24, 40, 17), (9, 33, 16), (7, 8, 50)])
def test_windows_are_placed_and_blended_as_monai_does(steps: Any, shape: tuple[int, int, int]) -> None:
    image = np.random.default_rng(0).random((1, 2, *shape), np.float32)

    def network(part: torch.Tensor) -> torch.Tensor:
        return part + 0.5 * torch.cat([torch.zeros_like(part[..., :1]), part[..., :-1]], dim=-1)

    inferer = SlidingWindowInferer(roi_size=(16, 16, 16), overlap=0.5, mode="gaussian")
    expected = cast(torch.Tensor, inferer(torch.from_numpy(image), network)).numpy()
    found = np.array(steps.evaluate(SLIDE, [image.ravel().tolist(), shape])).reshape(expected.shape)
    # float32: three exponentials make a weight, each off by some 8 units as exponents go down to -7, and up to 8 values
    # and 8 weights of windows are added: (3 * 8 + 2 * 8) * 2^-24 of values up to 1.5
    np.testing.assert_allclose(found, expected, rtol=0, atol=15 * FLOAT32)


def test_regions_become_labels_as_in_python(steps: Any) -> None:
    probabilities = np.random.default_rng(0).choice([0.0, 0.4999, 0.5, 1.0], (3, 6, 5, 4)).astype(np.float32)
    expected = RegionsToLabelsd("pred")({"pred": torch.from_numpy(probabilities >= 0.5).float()})["pred"][0]
    found = call(steps, "steps/regions.js", "labelsOf", [volume(channel) for channel in probabilities])
    np.testing.assert_array_equal(found, volume(expected.numpy()))


def test_confidence_is_exchanged_for_the_probability_of_regions_as_in_python(steps: Any) -> None:
    rng = np.random.default_rng(0)
    confidence, predicted = rng.random((2, 3, 6, 5, 4), np.float32)
    predicted[:, 0] = 0.5
    item: dict[Hashable, torch.Tensor] = {
        "confidence": torch.from_numpy(confidence),
        "pred": torch.from_numpy(predicted),
    }
    expected = SwapConfidenced("confidence")(item)["confidence"].numpy()
    given = [[volume(channel) for channel in array] for array in (confidence, predicted)]
    found = call(steps, "steps/regions.js", "swapConfidence", *given)
    np.testing.assert_array_equal(found, [volume(channel) for channel in expected])


def test_the_commands_postprocess_by_the_threshold_alone_unless_told(config: ConfigParser) -> None:
    off = {
        "min_enhancing": 0,
        "remove_doubted": False,
        "min_component": 0,
        "nested": False,
        "flips": [],
        "ensemble": [],
    }
    assert {name: config[name] for name in off} == off
    threshold = next(t for t in config["postprocessing"]["transforms"] if t["_target_"] == "AsDiscreted")["threshold"]
    assert threshold == 0.5


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_what_is_expected_is_computed_as_in_python(steps: Any, share: float) -> None:
    rng = np.random.default_rng(0)
    mask, confidence = rng.random(500) < share, rng.random(500).astype(np.float32)
    expected = expectation(mask, confidence.astype(np.float64))
    found = call(steps, "steps/expectation.js", "expectation", mask.astype(np.uint8), confidence)
    assert found["dice"] == pytest.approx(expected.dice, rel=EXACT)
    assert found["volume"] == pytest.approx(expected.volume, rel=EXACT)
    assert (found["low"], found["high"], found["voxels"]) == (expected.low, expected.high, mask.sum())


def test_regions_are_told_by_the_values_of_labels(steps: Any) -> None:
    labels = np.array([0, 1, 2, 4], np.uint8)
    found = {region: call(steps, "steps/regions.js", "regionOf", labels, region).tolist() for region in REGIONS}
    assert found == {"TC": [0, 1, 0, 1], "WT": [0, 1, 1, 1], "ET": [0, 0, 0, 1]}
