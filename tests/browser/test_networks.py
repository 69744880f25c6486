# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.utils import optional_import

from scripts.base.weights import load_weights
from scripts.browser.networks import export_networks
from tests.test_workflows import BUNDLE

pytestmark = pytest.mark.skipif(
    not (optional_import("onnx")[1] and optional_import("onnxruntime")[1]),
    reason="ONNX is not installed: requirements-export.txt",
)
A_BRAIN = (85, 110, 89)  # as many voxels as one has at 1.6 mm
# odd at every level, odd at some, as small as the commands run whole
SIZES = [(31, 45, 37), (40, 34, 48), (16, 17, 33), pytest.param(A_BRAIN, marks=pytest.mark.slow)]


@pytest.fixture(scope="module")
def exported(config: ConfigParser) -> dict[str, bytes]:
    return export_networks(config, str(BUNDLE / "models"))


def run(content: bytes, **inputs: torch.Tensor) -> np.ndarray:
    runtime, _ = optional_import("onnxruntime")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    return found


@pytest.mark.parametrize("size", SIZES)
def test_exports_compute_what_the_networks_do_at_any_size(
    exported: dict[str, bytes], config: ConfigParser, size: tuple[int, int, int]
) -> None:
    image = torch.rand(1, 4, *size, generator=torch.Generator().manual_seed(0))
    parser = ConfigParser(config.get())
    segmenter = load_weights(parser.get_parsed_content("network_def"), str(BUNDLE / "models" / "model.pt")).eval()
    critic = load_weights(parser.get_parsed_content("critic_def"), str(BUNDLE / "models" / "critic.pt")).eval()
    with torch.no_grad():
        logits = segmenter(image)
        probabilities = logits.sigmoid()
        confidence = critic.confidence(probabilities, image)  # type: ignore[operator]
        exact_logits = segmenter.double()(image.double())
        exact = critic.double().confidence(probabilities.double(), image.double())  # type: ignore[operator]
    found = run(exported["segmenter.onnx"], image=image)
    # five times what PyTorch's own float32 is off, because ONNX Runtime adds in another order
    np.testing.assert_allclose(found, exact_logits, rtol=0, atol=5 * (logits - exact_logits).abs().max().item())
    found = run(exported["critic.onnx"], probabilities=probabilities, image=image)
    # likewise
    np.testing.assert_allclose(found, exact, rtol=0, atol=5 * (confidence - exact).abs().max().item())


def test_the_same_weights_give_the_same_files(exported: dict[str, bytes], config: ConfigParser) -> None:
    assert export_networks(ConfigParser(config.get()), str(BUNDLE / "models")) == exported
