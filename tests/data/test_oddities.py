# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging

import numpy as np
import pytest

from scripts.data.oddities import warn_of_oddities, warn_once
from tests.data.test_checks import make_scan

NAMES = ["a_t1.nii (T1)", "a_t1ce.nii (T1ce)", "a_t2.nii (T2)", "a_flair.nii (FLAIR)"]


@pytest.fixture(autouse=True)
def fresh(caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    caplog.set_level(logging.WARNING)


def make_image() -> np.ndarray:
    return np.stack([make_scan(seed) for seed in range(4)]).astype(np.float32)


def test_a_sound_image_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_oddities(make_image(), NAMES)
    assert not caplog.records


def test_identical_modalities_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    image = make_image()
    image[3] = image[2]
    for _ in range(2):
        warn_of_oddities(image, NAMES)
    (record,) = caplog.records
    assert record.getMessage().startswith("a_t2.nii (T2) and a_flair.nii (FLAIR): are identical")
    image[3, 8, 8, 8] += 1
    warn_of_oddities(image, NAMES)
    assert len(caplog.records) == 1


def test_a_mask_in_place_of_a_scan_is_named(caplog: pytest.LogCaptureFixture) -> None:
    image = make_image()
    image[1] = 100 * (image[1] > 0)
    warn_of_oddities(image, NAMES)
    assert "a_t1ce.nii (T1ce): is 100 everywhere in the brain, as a mask" in caplog.text
    image[1, 8, 8, 8] = 99
    caplog.clear()
    warn_of_oddities(image, NAMES)
    assert not caplog.records
