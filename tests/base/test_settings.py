# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import pytest

from scripts.base.errors import BundleError
from scripts.base.settings import check_settings

GOOD: dict[str, Any] = {
    "batch_size": 2,
    "patch_size": 64,
    "features": 16,
    "epochs": 10,
    "val_interval": 2,
    "training_cases": 8,
}


@pytest.mark.parametrize("change", [{}, {"patch_size": 16}, {"features": 48}, {"val_interval": 10}, {"accumulate": 4}])
def test_good_settings_pass(change: dict[str, Any]) -> None:
    check_settings(**(GOOD | change))


@pytest.mark.parametrize(
    ("setting", "value"),
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
def test_a_bad_setting_is_named_with_its_value(setting: str, value: Any) -> None:
    with pytest.raises(BundleError, match=f"{setting} is {value}"):
        check_settings(**(GOOD | {setting: value}))
