# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings

from scripts.evaluation.metrics.surface_distances import (
    bounding_box,
    hausdorff_95,
    normalised_surface_dice,
    pooled_hausdorff_95,
    surface_dice,
    surface_distances,
)
from tests.masks import blobs, brute_distances, brute_hd95, percentile_95, spacings
from tests.tolerances import EXACT


@settings(deadline=None)
@given(prediction=blobs(), truth=blobs(), spacing=spacings)
def test_distances_equal_those_of_every_voxel_to_every_voxel(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    assume(prediction[0].any() and truth[0].any())
    found = surface_distances(prediction[0], truth[0], spacing=spacing)
    wanted = brute_distances(prediction[0], truth[0], spacing)
    for one, other in zip(found, wanted):
        np.testing.assert_allclose(one, other, rtol=0, atol=EXACT)
    assert hausdorff_95(found) == pytest.approx(brute_hd95(prediction[0], truth[0], spacing), abs=EXACT)
    assert pooled_hausdorff_95(found) == pytest.approx(percentile_95(np.concatenate(wanted)), abs=EXACT)
    near = sum((d <= 1 + 1e-6).sum() for d in wanted)
    assert surface_dice(found, tolerance=1) == pytest.approx(near / sum(map(len, wanted)), abs=EXACT)


def test_the_two_kinds_of_hd95_differ_where_one_surface_is_small() -> None:
    distances = (np.array([10.0] * 4), np.zeros(396))
    assert hausdorff_95(distances) == 10
    assert pooled_hausdorff_95(distances) == 0
    # and so do the two kinds of surface Dice
    assert surface_dice(distances, tolerance=1) == pytest.approx(396 / 400)
    assert normalised_surface_dice(distances, tolerance=1) == pytest.approx(1 / 2)


def test_a_distance_that_equals_the_tolerance_is_tolerated_however_spacing_was_rounded() -> None:
    one = np.zeros((1, 1, 40), dtype=bool)
    for first in range(29):
        other, one[:] = np.zeros_like(one), False
        one[0, 0, first] = other[0, 0, first + 10] = True
        assert surface_dice(surface_distances(one, other, spacing=(1, 1, 0.1)), tolerance=1) == 1
        assert surface_dice(surface_distances(one, other, spacing=(1, 1, 0.101)), tolerance=1) == 0


def test_the_box_is_tight_but_for_the_margin_and_ends_with_the_volume() -> None:
    mask = np.zeros((9, 9, 9), dtype=bool)
    assert mask[bounding_box(mask, [1, 2, 1])].shape == (1, 2, 1)
    mask[1, 4, 8] = mask[2, 4, 6] = True
    assert mask[bounding_box(mask, [2, 1, 3])].shape == (5, 3, 6)
    np.testing.assert_array_equal(mask[bounding_box(mask, [2, 1, 3])], mask[:5, 3:6, 3:])
