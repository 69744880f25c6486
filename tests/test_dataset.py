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

import pytest
from monai.transforms import Compose, Lambda

from scripts.cases import Item
from scripts.dataset import CaseDataset
from scripts.errors import BundleError
from tests.test_checks import make_case

BUNDLE = Path(__file__).parents[1]


@pytest.mark.parametrize("error", [ValueError("too\nsmall"), BundleError("t1.nii: broken")])
def test_an_error_names_the_cases_files(tmp_path: Path, error: Exception) -> None:
    def refuse(case: Item) -> None:
        raise error

    item = make_case(tmp_path / "data")
    with pytest.raises(BundleError) as caught:
        CaseDataset([item], Compose([Lambda(refuse)]))[0]
    said = str(caught.value)
    assert said == "t1.nii: broken" or (item["image"][0] in said and r"(ValueError: too\nsmall)" in said)


def test_a_fault_in_a_loaders_worker_is_told_in_its_own_words(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    Path(item["image"][2]).write_bytes(b"no scan")
    code = f"""
from monai.transforms import Compose
from torch.utils.data import DataLoader
from scripts.dataset import CaseDataset
from scripts.errors import report_bundle_errors
from scripts.transforms import LoadScansd

report_bundle_errors()
next(iter(DataLoader(CaseDataset([{item!r}], Compose([LoadScansd(keys="image")])), num_workers=1)))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=BUNDLE, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    message = result.stderr[result.stderr.index("error: ") :]
    assert message.startswith("error: cannot read")
    assert item["image"][2] in message
    assert len(message.strip().splitlines()) == 1
