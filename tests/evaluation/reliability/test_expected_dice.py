# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest

from scripts.evaluation.reliability.expected_dice import expectation, expected_of_case

SHAPE = (12, 12, 12)


def test_a_certain_segmentation_is_expected_to_be_perfect() -> None:
    mask = np.zeros(SHAPE, bool)
    mask[2:6, 3:7, 4:8] = True
    assert expectation(mask, np.ones(SHAPE)) == (1.0, 64.0, 64, 64)


def test_the_expected_dice_and_volume_are_those_of_truths_drawn_from_the_confidence() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros(SHAPE, bool)
    mask[2:9, 3:9, 2:10] = True
    confidence = rng.uniform(0.6, 1, SHAPE)
    truths = [mask ^ (rng.random(SHAPE) > confidence) for _ in range(400)]
    dice = np.mean([2 * (mask & truth).sum() / (mask.sum() + truth.sum()) for truth in truths])
    found = expectation(mask, confidence)
    # two standard errors of 400 draws, 2 * 0.015 / 20, and 5e-4, by which a ratio of means is not the mean of ratios
    assert found.dice == pytest.approx(dice, abs=2e-3)
    # three standard errors, 3 * 0.029 / 20 of the volume
    assert found.volume == pytest.approx(np.mean([truth.sum() for truth in truths]), rel=4.4e-3)


def test_the_interval_holds_the_volumes_of_level_sets() -> None:
    region = np.linspace(0, 1, 1000).reshape(10, 10, 10)
    mask = region > 0.5
    found = expectation(mask, np.where(mask, region, 1 - region))
    volumes = [(region > u).sum() for u in np.random.default_rng(0).random(2000)]
    # three standard errors of a share of 2000 draws, 3 * sqrt(0.8 * 0.2 / 2000)
    assert np.mean([found.low <= volume <= found.high for volume in volumes]) == pytest.approx(0.8, abs=0.027)


def test_an_empty_mask_that_is_doubted_is_expected_to_miss_something() -> None:
    mask, confidence = np.zeros(SHAPE, bool), np.ones(SHAPE)
    assert expectation(mask, confidence).dice == 1
    confidence[4:8, 4:8, 4:8] = 0.3
    found = expectation(mask, confidence)
    assert found.dice == 0
    assert found.volume == pytest.approx(0.7 * 64)


def test_what_is_expected_of_a_case_is_that_within_10_mm_of_its_regions_in_millilitres() -> None:
    regions = np.zeros((3, 30, 6, 6), bool)
    regions[:2, :2] = True
    confidence = np.full(regions.shape, 0.75)
    found = expected_of_case(regions, confidence, spacing=(2.0, 1.0, 1.0))
    # 5 planes of 2 mm beyond the region; the other 23 are not looked at
    region, around = 2 * 36, 5 * 36
    true = 0.75 * region + 0.25 * around
    assert found["expected_dice"][0] == pytest.approx(2 * 0.75 * region / (region + true))
    assert found["expected_volume_ml"][1] == pytest.approx(2 * true / 1000)
    assert found["volume_low_ml"][1] == 0
    assert found["volume_high_ml"][1] == pytest.approx(2 * (region + around) / 1000)
    assert all(np.isnan(values[2]) for values in found.values())
