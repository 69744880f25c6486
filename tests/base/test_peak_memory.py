# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest

from scripts.base import peak_memory
from scripts.base.peak_memory import peak_gb


def test_the_peak_is_that_of_what_was_held(monkeypatch: pytest.MonkeyPatch) -> None:
    held = np.ones(10**8, np.uint8)
    assert peak_gb() > held.nbytes / 1e9
    monkeypatch.setattr(peak_memory, "has_resource", False)
    assert math.isnan(peak_gb())
