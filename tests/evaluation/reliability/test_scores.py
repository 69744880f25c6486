# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.evaluation.metrics.surface_distances import distance_within
from scripts.evaluation.reliability.scores import score_case
from tests.tolerances import EXACT, FLOAT32

SHAPE = (14, 12, 10)
SPACING = (1.0, 2.0, 3.0)


def make_case(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> dict[str, np.ndarray]:
    """A box that is found a voxel too far, with noisy uncertainties; TC, WT and ET are alike but for the noise."""
    rng = np.random.default_rng(seed)
    truth, prediction = np.zeros((2, 3, *shape), bool)
    truth[:, 4:9, 4:9, 3:7] = True
    prediction[:, 5:10, 4:9, 3:7] = True
    probabilities = np.where(prediction, 0.8, 0.2) + 0.19 * rng.uniform(-1, 1, (3, *shape))
    confidence = np.where(prediction == truth, 0.6, 0.4) + 0.3 * rng.uniform(-1, 1, (3, *shape))
    return {
        "prediction": prediction,
        "truth": truth,
        "probabilities": probabilities.astype(np.float32),
        # rounded, so that there are ties, which ranks must share
        "confidence": confidence.astype(np.float32).round(2),
    }


def brute_force_distance(mask: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    places = np.argwhere(np.ones(mask.shape)) * spacing
    targets = np.argwhere(mask) * spacing
    distances = np.linalg.norm(places[:, None] - targets[None], axis=-1)
    return distances.min(axis=1).reshape(mask.shape)


def pair_count(wrong: np.ndarray, uncertainty: np.ndarray) -> float:
    """How often a wrong voxel is more uncertain than a right one, ties half."""
    pairs = uncertainty[wrong][:, None] - uncertainty[~wrong][None]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def naive_average_precision(wrong: np.ndarray, uncertainty: np.ndarray) -> float:
    """Precision at every threshold, weighed by the recall that it gains."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(uncertainty.tolist()), reverse=True):
        flagged = uncertainty >= threshold
        gained = (flagged & wrong).sum() / wrong.sum()
        total += (gained - recall) * (flagged & wrong).sum() / flagged.sum()
        recall = gained
    return total


def surface(mask: np.ndarray) -> np.ndarray:
    inner = mask.copy()
    padded = np.pad(mask, 1)
    for axis, step in itertools.product(range(3), (-1, 1)):
        inner &= np.roll(padded, step, axis)[1:-1, 1:-1, 1:-1]
    return mask & ~inner


def test_areas_are_those_of_a_pair_count_in_zones_of_brute_force() -> None:
    case = make_case()
    # in float64, where rounding changes no voxel's rank
    case |= {name: case[name].astype(np.float64) for name in ("probabilities", "confidence")}
    rows = score_case(**case, spacing=SPACING)
    for i, row in enumerate(rows):
        p, t, q, c = (case[name][i] for name in ("prediction", "truth", "probabilities", "confidence"))
        entropy = (-q * np.log(q) - (1 - q) * np.log(1 - q)).astype(np.float32)
        zones = {
            "boundary": brute_force_distance(surface(p), SPACING) <= 3,
            "neighbourhood": brute_force_distance(p | t, SPACING) <= 10,
        }
        for zone, inside in zones.items():
            wrong = (p != t)[inside]
            assert row[f"{zone}_voxels"] == inside.sum()
            assert row[f"{zone}_wrong_share"] == pytest.approx(wrong.mean())
            for name, uncertainty in (("critic", 1 - c), ("entropy", entropy)):
                found = [row[f"{zone}_{score}_{name}"] for score in ("auroc", "average_precision")]
                expected = [pair_count(wrong, uncertainty[inside]), naive_average_precision(wrong, uncertainty[inside])]
                assert found == pytest.approx(expected, abs=EXACT)
        around = brute_force_distance(p, SPACING) <= 10
        assert row["mean_confidence"] == pytest.approx(c[around].mean(), abs=EXACT)
        # a mean in float32: of 16 numbers at a time, then in pairs, NumPy rounds some 25 sums one after another
        assert row["mean_entropy"] == pytest.approx(entropy[around].mean(dtype=np.float64), rel=7 * FLOAT32)
        assert row["dice"] == pytest.approx(2 * (p & t).sum() / (p.sum() + t.sum()))


def test_what_is_far_away_does_not_count() -> None:
    shape = (60, 12, 10)
    case = make_case(shape=shape)
    before = score_case(**case, spacing=SPACING)
    for name in ("probabilities", "confidence"):
        case[name][:, 25:] = 0.5
    assert score_case(**case, spacing=SPACING) == before


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    share=st.floats(0.002, 0.3),
    spacing=st.tuples(*[st.sampled_from([0.7, 1.0, 2.5])] * 3),
    reach=st.sampled_from([1.0, 3.0, 6.0]),
)
def test_distances_are_exact_within_their_reach(
    seed: int, share: float, spacing: tuple[float, float, float], reach: float
) -> None:
    mask = np.random.default_rng(seed).random((9, 8, 7)) < share
    mask[0, 0, 0] = True
    exact = brute_force_distance(mask, spacing)
    np.testing.assert_allclose(
        distance_within(mask, spacing, reach=reach), np.where(exact <= reach, exact, np.inf), rtol=FLOAT32
    )


def test_a_perfect_critic_and_a_perfect_segmentation() -> None:
    case = make_case()
    case["confidence"] = (case["prediction"] == case["truth"]).astype(np.float32)
    row = score_case(**case, spacing=SPACING)[0]
    assert row["boundary_auroc_critic"] == row["neighbourhood_average_precision_critic"] == 1
    case["prediction"] = case["truth"]
    row = score_case(**case, spacing=SPACING)[0]
    assert math.isnan(row["boundary_auroc_critic"])
    assert math.isnan(row["neighbourhood_average_precision_entropy"])
    assert row["neighbourhood_wrong_share"] == 0


def test_absent_and_missed_regions() -> None:
    case = make_case()
    case["prediction"][0] = case["truth"][0] = False
    case["prediction"][2] = False
    absent, _, missed = score_case(**case, spacing=SPACING)
    assert absent["dice"] == 1
    assert all(math.isnan(v) for k, v in absent.items() if "auroc" in k or k.startswith("mean"))
    assert missed["dice"] == 0
    assert missed["boundary_voxels"] == 0
    assert math.isnan(missed["boundary_auroc_critic"])
    assert math.isnan(missed["mean_confidence"])
    assert missed["neighbourhood_auroc_critic"] > 0.5


def test_the_bins_of_the_neighbourhood_say_how_often_a_confidence_is_right() -> None:
    case = make_case()
    for row, p, t, c in zip(score_case(**case, spacing=SPACING), case["prediction"], case["truth"], case["confidence"]):
        inside = brute_force_distance(p | t, SPACING) <= 10
        confidence, right = c[inside], (p == t)[inside]
        for number, (voxels, total, correct) in enumerate(row["neighbourhood_calibration"]):
            chosen = np.minimum((confidence * 10).astype(int), 9) == number
            assert (voxels, correct) == (chosen.sum(), right[chosen].sum())
            assert total == pytest.approx(confidence[chosen].sum(dtype=np.float64), rel=EXACT)
