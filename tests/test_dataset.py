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

import logging
from pathlib import Path

import pytest
import torch
from monai.transforms import Compose, Lambda

from scripts.cases import Item, hash_item
from scripts.dataset import CachedDataset
from scripts.errors import BundleError
from tests.test_checks import make_case


def make_dataset(item: Item, cache_dir: Path | None, seen: list[str]) -> CachedDataset:
    def load(case: Item) -> dict[str, torch.Tensor]:
        seen.append(case["case"])
        return {"image": torch.arange(1000.0)}

    return CachedDataset([item], Compose([Lambda(load)]), cache_dir=cache_dir, hash_func=hash_item)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_made_anew(tmp_path: Path, keep: float, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    item = make_case(tmp_path / "data")
    dataset = make_dataset(item, tmp_path / "cache", seen)
    first = dataset[0]["image"]
    (file,) = (tmp_path / "cache").glob("*.pt")
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content))])
    with caplog.at_level(logging.WARNING):
        assert torch.equal(dataset[0]["image"], first)
    assert str(file) in caplog.text
    assert torch.equal(dataset[0]["image"], first)
    assert len(seen) == 2


@pytest.mark.parametrize("cached", [True, False])
def test_a_fault_of_the_case_itself_is_told(tmp_path: Path, cached: bool) -> None:
    def refuse(case: Item) -> None:
        raise BundleError("broken")

    transforms = Compose([Lambda(refuse)])
    item = make_case(tmp_path / "data")
    dataset = CachedDataset([item], transforms, cache_dir=tmp_path / "c" if cached else None, hash_func=hash_item)
    with pytest.raises(RuntimeError) as caught:  # MONAI's, about the transform
        dataset[0]
    assert isinstance(caught.value.__cause__, BundleError)
