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

from typing import Any

import pytest

from scripts.errors import BundleError
from scripts.knobs import check_knobs

GOOD: dict[str, Any] = {
    "batch_size": 2,
    "patch_size": 64,
    "features": 16,
    "epochs": 10,
    "val_interval": 2,
    "training_cases": 8,
}


@pytest.mark.parametrize("change", [{}, {"patch_size": 16}, {"features": 48}, {"val_interval": 10}, {"accumulate": 4}])
def test_good_knobs_pass(change: dict[str, Any]) -> None:
    check_knobs(**(GOOD | change))


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("batch_size", 0),
        ("batch_size", -2),
        ("batch_size", 1.5),
        ("batch_size", 9),
        ("epochs", 0),
        ("val_interval", 0),
        ("val_interval", 11),
        ("patch_size", 40),
        ("patch_size", 0),
        ("patch_size", "big"),
        ("features", 12),
        ("accumulate", 0),
        ("accumulate", 2.5),
        ("accumulate", 5),
        ("max_skipped", 0),
    ],
)
def test_a_bad_knob_is_named_with_its_value(knob: str, value: Any) -> None:
    with pytest.raises(BundleError, match=f"{knob} is {value}"):
        check_knobs(**(GOOD | {knob: value}))
