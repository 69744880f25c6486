# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings

from scripts.evaluation.metrics.matching import match_lesions
from tests.evaluation.metrics.test_lesions import as_mask, components_of, row
from tests.masks import blobs, brute_distances, needs_real_cases, percentile_95, real_pairs, spacings
from tests.tolerances import EXACT

NAN = math.nan


@settings(deadline=None, max_examples=40)
@given(prediction=blobs(11), truth=blobs(11), spacing=spacings)
def test_blobs_are_scored_as_the_rule_says(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]
) -> None:
    for p, t in zip(prediction, truth):
        found = match_lesions(p, t, spacing=spacing, worst_hd95=373)
        np.testing.assert_allclose(found, rule(p, t, spacing), atol=EXACT, rtol=0)


@needs_real_cases
def test_real_tumours_are_scored_as_the_rule_says() -> None:
    spacing, scored = (1.2, 1.0, 1.6), 0
    for index, (prediction, truth) in enumerate(real_pairs()):
        # one region of each, in turn, and every second slice: the rule's sets are slow
        p, t = (mask[(index + index // 9) % 3, ..., ::2] for mask in (prediction, truth))
        wanted = rule(p, t, spacing)
        np.testing.assert_allclose(match_lesions(p, t, spacing=spacing, worst_hd95=373), wanted, atol=EXACT, rtol=0)
        scored += wanted[3] > 0
    assert scored > 30


def rule(prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> tuple[float, ...]:
    """The rule with sets of voxels, and the best of all assignments that a lesion could be part of."""
    predicted, true = (components_of({tuple(map(int, v)) for v in np.argwhere(m)}) for m in (prediction, truth))
    if not predicted and not true:
        return NAN, NAN, NAN, 0, 0, 0
    dice = {
        (i, j): 2 * len(lesion & found) / (len(lesion) + len(found))
        for (i, lesion), (j, found) in itertools.product(enumerate(true), enumerate(predicted))
        if lesion & found
    }
    pairs = [pair for group in groups(dice) for pair in best(group, dice)]
    if not pairs:
        return 0, 0, 373, 0, len(true), len(predicted)
    scores = []
    for i, j in pairs:
        directed = brute_distances(as_mask(predicted[j], truth), as_mask(true[i], truth), spacing)
        near = [float((d <= min(spacing) + 1e-6).mean()) for d in directed]
        scores.append((dice[i, j], sum(near) / 2, percentile_95(np.concatenate(directed))))
    means = (sum(column) / len(pairs) for column in zip(*scores))
    return (*means, len(pairs), len(true) - len(pairs), len(predicted) - len(pairs))


def groups(dice: dict[tuple[int, int], float]) -> list[list[tuple[int, int]]]:
    """Pairs that share a lesion, directly or through others."""
    found: list[list[tuple[int, int]]] = []
    for pair in dice:
        joined = [group for group in found if any(pair[0] == i or pair[1] == j for i, j in group)]
        found = [group for group in found if group not in joined] + [[pair, *itertools.chain(*joined)]]
    return found


def best(pairs: list[tuple[int, int]], dice: dict[tuple[int, int], float]) -> list[tuple[int, int]]:
    """The one-to-one matching of least cost, among all, where an unmatched lesion costs a little more than a pair."""
    if not pairs:
        return []
    (i, j), *rest = pairs
    without = best(rest, dice)
    with_it = [(i, j), *best([(a, b) for a, b in rest if a != i and b != j], dice)]
    return max(with_it, without, key=lambda chosen: sum(dice[pair] + 1e-6 for pair in chosen))


@pytest.mark.parametrize(
    ("predicted", "true", "wanted"),
    [
        ([], [], (NAN, NAN, NAN, 0, 0, 0)),
        ([(0, 5)], [], (0, 0, 373, 0, 0, 1)),
        ([], [(0, 5)], (0, 0, 373, 0, 1, 0)),
        ([(0, 5)], [(6, 9)], (0, 0, 373, 0, 1, 1)),
        # missed and false lesions are counted, and do not lower the means; no lesion is too small
        ([(0, 5), (50, 51)], [(0, 5), (20, 21), (30, 31)], (1, 1, 0, 1, 2, 1)),
        # a component that overlaps two lesions is matched to the one with the higher Dice
        ([(0, 30)], [(0, 6), (10, 30)], (2 * 20 / 50, None, None, 1, 1, 0)),
        ([(0, 10), (12, 20)], [(4, 18)], (2 * 6 / 22, None, None, 1, 0, 1)),
        # the sum of Dice decides: 0.636 of the first pair is more than 0.333 or 0.5, but less than both
        ([(0, 20), (22, 30)], [(6, 30), (0, 4)], ((8 / 24 + 16 / 32) / 2, None, None, 2, 0, 0)),
    ],
)
def test_the_rule_by_examples(
    predicted: list[tuple[int, int]], true: list[tuple[int, int]], wanted: tuple[float | None, ...]
) -> None:
    found = match_lesions(row(*predicted), row(*true), spacing=(1, 1, 1), worst_hd95=373)
    for one, other in zip(found, wanted):
        assert other is None or one == pytest.approx(other, nan_ok=True)
    assert found == pytest.approx(rule(row(*predicted), row(*true), (1, 1, 1)), nan_ok=True)


def test_the_tolerance_is_the_smallest_edge_of_a_voxel() -> None:
    one, other = row((0, 5)), row((0, 6))
    for edge, wanted in ((1.0, 1.0), (2.0, 1.0)):
        assert match_lesions(one, other, spacing=(edge, edge, edge), worst_hd95=373).nsd == wanted
    assert match_lesions(one, other, spacing=(1, 1, 1.5), worst_hd95=373).nsd < 1
