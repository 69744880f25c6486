# SPDX-License-Identifier: Apache-2.0
"""The shipped networks as ONNX files that take a brain box of any size, as PyTorch does."""

from __future__ import annotations

import io
import types
import warnings
from typing import Any, cast

import torch
from monai.bundle import ConfigParser
from monai.networks.nets.basic_unet import UpCat
from monai.utils import optional_import
from torch import nn

from scripts.base.errors import BundleError
from scripts.base.weights import load_weights
from scripts.method.networks import VolumetricCritic

EXAMPLE = (1, 4, 32, 48, 32)
AXES = {0: "batch", 2: "height", 3: "width", 4: "depth"}


class Judge(nn.Module):
    """A critic whose output is its confidence, in [0, 1].

    Args:
        critic: the trained critic.
    """

    def __init__(self, critic: VolumetricCritic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, mask: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        """Returns the confidence (B, regions, H, W, D) in probabilities of that shape for (B, modalities, H, W, D)."""
        return self.critic.confidence(mask, image)


def export_networks(config: ConfigParser, ckpt_dir: str) -> dict[str, bytes]:
    """Exports the segmenter and the critic of inference.yaml with their weights.

    Args:
        config: the parsed config.
        ckpt_dir: folder of model.pt and critic.pt.

    Returns:
        ONNX files by name: `segmenter.onnx`, from `image` to `logits`, and `critic.onnx`, from `probabilities` and
        `image` to `confidence`; all are (batch, channels, height, width, depth), edges of at least 16.

    Raises:
        BundleError: where ONNX is not installed, or weights do not fit.
    """
    if not optional_import("onnx")[1]:
        raise BundleError("exporting the networks needs ONNX: pip install -r requirements-export.txt")
    segmenter = load_weights(config.get_parsed_content("network_def"), f"{ckpt_dir}/model.pt")
    critic = load_weights(config.get_parsed_content("critic_def"), f"{ckpt_dir}/critic.pt")
    image = torch.rand(EXAMPLE)
    mask = torch.rand(1, 3, *EXAMPLE[2:])
    return {
        "segmenter.onnx": _export(sum_in_stages(take_any_size(segmenter)), {"image": image}, "logits"),
        "critic.onnx": _export(
            Judge(cast(VolumetricCritic, critic)), {"probabilities": mask, "image": image}, "confidence"
        ),
    }


def take_any_size(segmenter: nn.Module) -> nn.Module:
    """Makes a `BasicUNet` pad odd sizes by a computation instead of a branch, which tracing would fix to one size."""
    for module in segmenter.modules():
        if isinstance(module, UpCat):
            module.forward = types.MethodType(_join, module)  # type: ignore[method-assign]
    return segmenter


def sum_in_stages(segmenter: nn.Module) -> nn.Module:
    """Makes GroupNorm's statistics means of means, axis by axis, which float32 can hold.

    ONNX Runtime adds all voxels of a group one after the other in float32: on a brain of 420,000 voxels its WebAssembly
    was up to 0.2 off in the logits, against 1e-5 of PyTorch and of these stages.
    """
    for module in segmenter.modules():
        if isinstance(module, nn.GroupNorm):
            module.forward = types.MethodType(_normalise, module)  # type: ignore[method-assign]
    return segmenter


def _normalise(norm: Any, x: torch.Tensor) -> torch.Tensor:
    """Computes what `GroupNorm.forward` does, as x * scale + shift with numbers of each channel."""
    batch, channels = x.shape[:2]
    groups = x.reshape(batch, norm.num_groups, -1, x.shape[3], x.shape[4])
    mean = _mean(groups)
    scale = norm.weight.view(1, norm.num_groups, -1) * (_mean((groups - mean) ** 2) + norm.eps).rsqrt()[..., 0, 0]
    shift = norm.bias.view(1, norm.num_groups, -1) - mean[..., 0, 0] * scale
    return x * scale.view(batch, channels, 1, 1, 1) + shift.view(batch, channels, 1, 1, 1)


def _mean(groups: torch.Tensor) -> torch.Tensor:
    """Returns the means (B, groups, 1, 1, 1) of (B, groups, n, W, D)."""
    for axis in (4, 3, 2):
        groups = groups.mean(axis, keepdim=True)
    return groups


def _join(block: Any, x: torch.Tensor, skipped: torch.Tensor) -> torch.Tensor:
    """Computes what `UpCat.forward` does, with the sizes of the input at hand."""
    x = block.upsample(x)
    padding = [edge for axis in (4, 3, 2) for edge in (0, skipped.shape[axis] - x.shape[axis])]
    return block.convs(torch.cat([skipped, nn.functional.pad(x, padding, "replicate")], dim=1))


def _export(network: nn.Module, inputs: dict[str, torch.Tensor], output: str) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing, whose traps the tests look for at odd sizes
        torch.onnx.export(
            network.eval(),
            tuple(inputs.values()),
            file,  # type: ignore[arg-type]
            dynamo=False,
            input_names=[*inputs],
            output_names=[output],
            dynamic_axes=dict.fromkeys([*inputs, output], AXES),
        )
    return file.getvalue()
