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

import subprocess
import sys
from pathlib import Path

from scripts.benchmark import VARIANTS

BUNDLE = Path(__file__).parents[1]


def test_each_variant_of_a_step_gets_a_row_of_time_and_memory() -> None:
    knobs = '{"patch_size": 16, "features": 8, "critic_features": 4}'
    command = [sys.executable, "-m", "scripts.benchmark", "--steps", "2", "--knobs", knobs]
    result = subprocess.run(command, cwd=BUNDLE, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["step", "median", "s", "min", "max", "peak", "GB"]
    for row, variant in zip(rows, VARIANTS, strict=True):
        assert row[:14].strip() == variant
        median, fastest, slowest, peak = map(float, row[14:].split())
        assert 0 <= fastest <= median <= slowest
        assert peak > 0.1
