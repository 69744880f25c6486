# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings

from scripts.evaluation.metrics.lesions import count_lesions, lesion_wise
from tests.masks import blobs, brute_hd95, needs_real_cases, real_pairs, spacings
from tests.tolerances import EXACT

Voxel = tuple[int, ...]
AROUND = [step for step in itertools.product((-1, 0, 1), repeat=3) if any(step)]
NEAR = [step for step in AROUND if np.abs(step).sum() < 3]


@settings(deadline=None, max_examples=40)
@given(prediction=blobs(11), truth=blobs(11), spacing=spacings)
def test_blobs_are_scored_as_the_rule_says(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    for p, t in zip(prediction, truth):
        found = lesion_wise(p, t, spacing=spacing, worst_hd95=374)
        assert found == pytest.approx(rule(p, t, spacing), abs=EXACT)


@needs_real_cases
def test_real_tumours_are_scored_as_the_rule_says() -> None:
    # a voxel of 1.92 mm3, so that small lesions are some voxels large
    spacing = (1.2, 1.0, 1.6)
    found, wanted = [], []
    for index, (prediction, truth) in enumerate(real_pairs()):
        # one region of each, in turn, and every second slice: the rule's sets are slow
        p, t = (mask[(index + index // 9) % 3, ..., ::2] for mask in (prediction, truth))
        found.append(lesion_wise(p, t, spacing=spacing, worst_hd95=374))
        wanted.append(rule(p, t, spacing))
    np.testing.assert_allclose(found, wanted, atol=EXACT, rtol=0)
    assert len(found) == 90
    assert min(f.missed + f.false for f in found) == 0 < max(f.missed for f in found) < max(f.false for f in found)


def rule(prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> tuple[float, float, int, int]:
    """The rule, word by word, with sets of voxels."""
    inside = set(itertools.product(*map(range, truth.shape)))
    reference, predicted = ({tuple(map(int, v)) for v in np.argwhere(mask)} for mask in (truth, prediction))
    dilated = set(reference)
    for _ in range(3):
        dilated |= {shifted(voxel, step) for voxel in dilated for step in NEAR} & inside
    components, dilated_components = components_of(predicted), components_of(dilated)
    lesions = [reference & component for component in dilated_components]
    large = [len(lesion) * math.prod(spacing) > 50 for lesion in lesions]
    touching = [[c for c in components if c & component] for component in dilated_components]
    false = sum(not any(c & component for component in dilated_components) for c in components)
    dices, distances = [0.0] * false, [374.0] * false
    for lesion, touched in ((lesion, t) for lesion, t, is_large in zip(lesions, touching, large) if is_large):
        joined = set().union(*touched)
        dices.append(2 * len(joined & lesion) / (len(joined) + len(lesion)))
        distances.append(brute_hd95(as_mask(joined, truth), as_mask(lesion, truth), spacing) if joined else 374.0)
    missed = sum(is_large and not touched for is_large, touched in zip(large, touching))
    if not dices:
        return 1, 0, missed, false
    return sum(dices) / len(dices), sum(distances) / len(distances), missed, false


def shifted(voxel: Voxel, step: Voxel) -> Voxel:
    return (voxel[0] + step[0], voxel[1] + step[1], voxel[2] + step[2])


def components_of(voxels: set[Voxel]) -> list[set[Voxel]]:
    """26-connected, by breadth-first search."""
    left, components = set(voxels), []
    while left:
        front = {left.pop()}
        component = set(front)
        while front:
            front = {shifted(voxel, step) for voxel in front for step in AROUND} & left
            left -= front
            component |= front
        components.append(component)
    return components


def as_mask(voxels: set[Voxel], like: np.ndarray) -> np.ndarray:
    mask = np.zeros_like(like)
    mask[tuple(np.array(sorted(voxels)).T)] = True
    return mask


def row(*spans: tuple[int, int], length: int = 60) -> np.ndarray:
    """A bar of 4 x 4 voxels across, with true spans along the last axis."""
    mask = np.zeros((4, 4, length), dtype=bool)
    for start, stop in spans:
        mask[..., start:stop] = True
    return mask


@pytest.mark.parametrize(
    ("predicted", "true", "wanted"),
    [
        ([], [], (1, 0, 0, 0)),
        ([(0, 5)], [], (0, 374, 0, 1)),
        ([], [(0, 5)], (0, 374, 1, 0)),
        ([(0, 5)], [(0, 5)], (1, 0, 0, 0)),
        # lesions of 48 mm3 are left out, of 64 mm3 count; a component is false whatever its size
        ([], [(0, 3)], (1, 0, 0, 0)),
        ([], [(0, 4)], (0, 374, 1, 0)),
        ([(50, 51)], [(0, 5)], (0, 374, 1, 1)),
        ([(0, 5), (50, 51)], [(0, 5)], (1 / 2, 374 / 2, 0, 1)),
        # a component that touches a lesion that is left out is not false
        ([(2, 9)], [(0, 3)], (1, 0, 0, 0)),
        # a component three voxels away touches, four away does not
        ([(8, 12)], [(0, 6)], (0, 8, 0, 0)),
        ([(9, 13)], [(0, 6)], (0, 374, 1, 1)),
        # references no more than six voxels apart are one lesion
        ([(0, 5)], [(0, 5), (11, 16)], (2 / 3, None, 0, 0)),
        ([(0, 5)], [(0, 5), (12, 17)], ((1 + 0) / 2, 374 / 2, 1, 0)),
        # one component counts for both lesions that it touches; pieces of one are joined
        ([(0, 30)], [(0, 10), (20, 30)], (2 * 10 / 40, None, 0, 0)),
        ([(0, 4), (6, 10)], [(0, 10)], (2 * 8 / 18, None, 0, 0)),
    ],
)
def test_the_rule_by_examples(
    predicted: list[tuple[int, int]], true: list[tuple[int, int]], wanted: tuple[float, float | None, int, int]
) -> None:
    found = lesion_wise(row(*predicted), row(*true), spacing=(1, 1, 1), worst_hd95=374)
    for one, other in zip(found, wanted):
        assert other is None or one == pytest.approx(other)


def test_small_is_told_by_volume_not_by_voxels() -> None:
    lesion = row((0, 4))
    for spacing, missed in (((1, 1, 0.78), 0), ((1, 1, 0.79), 1), ((50 / 64, 1, 1 + 1e-9), 0)):
        assert lesion_wise(row(), lesion, spacing=spacing, worst_hd95=374).missed == missed


def test_lesions_that_share_a_corner_are_one() -> None:
    mask = np.zeros((4, 4, 4), dtype=bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[3, 3, 3] = True
    assert count_lesions(mask) == 2
    assert count_lesions(~mask) == 1
    assert count_lesions(mask & False) == 0
