# SPDX-License-Identifier: Apache-2.0
"""Lets torchvision be imported beside a torch for which its operators are not compiled, as torch's CPU wheel.

MONAI Label imports `torchvision.utils`, which needs none of them, but torchvision gives up where two are unknown.
Python runs this file at its start where PYTHONPATH names the folder, in the server and in each process that it starts.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

if find_spec("torch") and find_spec("torchvision"):
    import torch

    try:
        import_module("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
