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

import math
from pathlib import Path

import pytest
from matplotlib import colormaps
from matplotlib.image import imread
from torch import nn

from scripts.picture import CasePictureHandler
from tests.builders import changed, make_cases, make_critic, make_evaluator, make_voxelwise_segmenter, snapshot
from tests.test_report import panel, where_coloured


def test_the_first_case_is_drawn_with_the_critics_confidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    critic, path = make_critic(), tmp_path / "case.png"
    nn.init.zeros_(critic.get_parameter("3.conv.weight"))
    nn.init.constant_(critic.get_parameter("3.conv.bias"), math.log(0.3 / 0.7))
    before = snapshot(critic)
    cases = [case | {"case": f"phantom_{index}"} for index, case in enumerate(make_cases(2))]
    make_evaluator(make_voxelwise_segmenter(), cases=cases, handlers=[CasePictureHandler(path, critic=critic)]).run()

    height, width, _ = imread(path).shape
    assert (height, width) == (960, 1488)
    assert where_coloured(panel(path, 1, 2), colormaps["viridis"](0.3)[:3]).sum() > 1000
    assert capsys.readouterr().out == f"picture of phantom_0: {path}\n"
    assert changed(critic, before) == set()
