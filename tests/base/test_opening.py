# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import warnings
from pathlib import Path

import monai
import pytest
import torch
from monai.transforms import LoadImage

from scripts.base.errors import BundleError
from scripts.base.opening import MONAI, check_monai, ignore_needless_warnings


def test_another_monai_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    check_monai()
    monkeypatch.setattr(monai, "__version__", "1.3.2+cu12")
    with pytest.raises(BundleError, match=r"MONAI 1\.3\.2 is installed, .* pip install -r requirements\.txt"):
        check_monai()


def test_what_cpus_lack_is_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ignore_needless_warnings()
        torch.cuda.amp.GradScaler()
        LoadImage()
    assert not caught
    assert not caplog.records


def test_the_version_is_that_of_the_requirements() -> None:
    pins = (Path(__file__).parents[2] / "requirements.txt").read_text().split()
    assert f"monai=={MONAI}" in pins
