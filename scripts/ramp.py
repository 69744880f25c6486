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


def ramp(iteration: int, *, start: int, length: int) -> float:
    """Rises in a straight line from 0 at iteration `start` to 1 at `start + length`, and stays there.

    A loss term that is new to the network would otherwise jolt it: `start` lets Dice learn the task first.
    """
    if length == 0:
        return float(iteration > start)
    return min(max((iteration - start) / length, 0.0), 1.0)
