# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import monai
import pytest

from scripts.base.errors import BundleError
from scripts.base.opening import MONAI, check_monai


def test_another_monai_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    check_monai()
    monkeypatch.setattr(monai, "__version__", "1.3.2+cu12")
    with pytest.raises(BundleError, match=r"MONAI 1\.3\.2 is installed, .* pip install -r requirements\.txt"):
        check_monai()


def test_the_version_is_that_of_the_requirements() -> None:
    pins = (Path(__file__).parents[2] / "requirements.txt").read_text().split()
    assert f"monai=={MONAI}" in pins
