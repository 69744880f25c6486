# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging

import numpy as np
import pytest

from scripts.data.oddities import warn_of_oddities, warn_once
from scripts.data.phantoms import make_phantom

NAMES = ["a_t1.nii (T1)", "a_t1ce.nii (T1ce)", "a_t2.nii (T2)", "a_flair.nii (FLAIR)"]


@pytest.fixture(autouse=True)
def fresh(caplog: pytest.LogCaptureFixture) -> None:
    warn_once.cache_clear()
    caplog.set_level(logging.WARNING)


def make_image() -> np.ndarray:
    return make_phantom(1, shape=(48, 48, 40))[0].astype(np.float32)


def messages(image: np.ndarray, caplog: pytest.LogCaptureFixture) -> list[str]:
    warn_of_oddities(image, NAMES)
    return [record.getMessage() for record in caplog.records]


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
    image[3, 24, 24, 20] += 1
    warn_of_oddities(image, NAMES)
    assert len(caplog.records) == 1


def test_a_mask_in_place_of_a_scan_is_named(caplog: pytest.LogCaptureFixture) -> None:
    image = make_image()
    image[1] = 100 * (image[1] > 0)
    warn_of_oddities(image, NAMES)
    assert "a_t1ce.nii (T1ce): is 100 everywhere in the brain, as a mask" in caplog.text


@pytest.mark.parametrize("most", [255, 400, 520])
def test_intensities_that_were_cut_off_are_named(most: int, caplog: pytest.LogCaptureFixture) -> None:
    image = make_image()
    share = (image[0][image[0] > 0] >= most).mean()
    assert share > 0.05
    image[0] = image[0].clip(max=most)
    (message,) = messages(image, caplog)
    assert message.startswith(f"a_t1.nii (T1): {share:.0%} of its brain is exactly {most}, its largest value")


@pytest.mark.parametrize(("bits", "factor"), [(8, 1), (16, 100)])
def test_intensities_that_were_wrapped_around_are_named(
    bits: int, factor: int, caplog: pytest.LogCaptureFixture
) -> None:
    image = make_image()
    image[2] = image[2] * factor % 2**bits
    (message,) = messages(image, caplog)
    assert message.startswith("a_t2.nii (T2): neighbours in its brain differ as in noise")


def test_a_bright_lesion_and_a_few_voxels_of_an_overflow_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    image = make_image()
    image[3, 20:26, 20:26, 15:20] = 3 * image[3].max()
    image[0].flat[np.flatnonzero(image[0])[::1000]] = 1e9
    assert messages(image, caplog) == []
