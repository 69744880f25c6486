# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.
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
