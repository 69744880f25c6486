# SPDX-License-Identifier: Apache-2.0
"""Running of exported segmenters, as TorchScript or ONNX."""

from __future__ import annotations

import os

import torch
from monai.utils import optional_import
from torch import nn

from scripts.base.errors import BundleError
from scripts.base.settings import HALVINGS


class OnnxNetwork(nn.Module):
    """Runs the segmenter's ONNX export with ONNX Runtime, on the GPU if the installed build supports it.

    Args:
        path: path of the file that `monai.bundle onnx_export` wrote.

    Raises:
        BundleError: if ONNX Runtime is not installed.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        runtime, installed = optional_import("onnxruntime")
        if not installed:
            raise BundleError(f"{path} needs ONNX Runtime: pip install -r requirements-export.txt")
        self.session = runtime.InferenceSession(path, providers=runtime.get_available_providers())

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns logits (B, regions, H, W, D) for images (B, modalities, H, W, D).

        Raises:
            BundleError: if an edge is no multiple of 16, which an export by tracing does not support.
        """
        if any(edge % HALVINGS for edge in image.shape[2:]):
            size = tuple(image.shape[2:])
            raise BundleError(
                f"an ONNX export runs on multiples of {HALVINGS} voxels, not {size}; set --max_whole_brain_voxels 0"
            )
        (logits,) = self.session.run(None, {"image": image.cpu().float().numpy()})
        return torch.from_numpy(logits).to(image.device)


def load_exported(path: str, device: torch.device) -> nn.Module:
    """Loads the segmenter with its weights from TorchScript (.ts) or ONNX (.onnx).

    Raises:
        BundleError: if there is no such file, or it has another format.
    """
    if not os.path.isfile(path):
        raise BundleError(f"exported is {path}: no such file; write it with `monai.bundle ckpt_export`.")
    if path.endswith(".onnx"):
        return OnnxNetwork(path)
    try:
        return torch.jit.load(path, map_location=device)
    except RuntimeError as error:
        raise BundleError(
            f"exported is {path}: allowed are TorchScript (.ts) and ONNX (.onnx) of the segmenter"
        ) from error
