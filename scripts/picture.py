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

from __future__ import annotations

import torch
from ignite.engine import Events
from monai.config import PathLike
from monai.engines import Evaluator
from torch import nn

from scripts.report import draw_case


class CasePictureHandler:
    """Draws the first case of an evaluation: modalities, truth, prediction and the critic's confidence.

    The evaluator keeps regions as `pred` and their probabilities as `probabilities`, at one resolution with image and
    label.

    Args:
        path: of the PNG file.
        critic: which judges the probabilities.
    """

    def __init__(self, path: PathLike, *, critic: nn.Module) -> None:
        self.path = path
        self.critic = critic

    def attach(self, engine: Evaluator) -> None:
        """Hooks the drawing behind the first case."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), self)

    def __call__(self, engine: Evaluator) -> None:
        """Draws the case and prints where."""
        (item,), (output,) = engine.state.batch, engine.state.output
        self.critic.eval()
        with torch.no_grad():
            confidence = self.critic(torch.as_tensor(output["probabilities"])[None]).sigmoid()[0]
        draw_case(self.path, output["image"], output["label"], output["pred"], confidence, title=item["case"])
        print(f"picture of {item['case']}: {self.path}")
