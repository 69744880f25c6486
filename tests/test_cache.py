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

import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.transforms import Compose, ScaleIntensityd

from scripts.cache import CaseCache


def test_a_file_is_moved_within_the_caches_own_disk_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = []
    move = shutil.move

    def watch(source: str, target: Path) -> Any:
        moves.append((source, target))
        return move(source, target)

    monkeypatch.setattr("shutil.move", watch)
    elsewhere = tempfile.gettempdir()
    cached = CaseCache([{"image": torch.arange(4.0)}], Compose([ScaleIntensityd("image")]), cache_dir=tmp_path)
    first: Any = cached[0]
    ((source, target),) = moves
    assert tmp_path in Path(source).parents
    assert list(tmp_path.iterdir()) == [Path(target)]
    assert tempfile.gettempdir() == elsewhere
    again: Any = cached[0]
    assert torch.equal(torch.as_tensor(first["image"]), torch.as_tensor(again["image"]))
    assert len(moves) == 1
