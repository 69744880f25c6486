# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

from scripts.evaluation.reliability.islands import count_doubted, doubted_as_text


def make_islands() -> list[dict[str, Any]]:
    """Two large false islands, one of which is held wrong, a large true one, and small ones."""
    values = [
        (2.0, 0.05, 0.0),
        (0.5, 0.9, 0.09),
        (0.6, 0.5, 0.1),
        (0.49, 0.05, 0.0),
        (0.1, 0.05, 1.0),
        (0.09, 0.05, 0.0),
    ]
    return [dict(zip(("volume_ml", "probability", "true_share"), row)) for row in values]


def test_false_and_true_islands_of_each_size_are_counted() -> None:
    all_of_them, large = count_doubted(make_islands())
    assert all_of_them == {"at_least_ml": 0.1, "false": 3, "false_doubted": 2, "true": 2, "true_doubted": 1}
    assert large == {"at_least_ml": 0.5, "false": 2, "false_doubted": 1, "true": 1, "true_doubted": 0}
    assert doubted_as_text(large) == ("of islands of at least 0.5 ml, 1 of 2 false and 0 of 1 true ones are held wrong")


def test_the_threshold_decides_what_is_held_wrong() -> None:
    _, large = count_doubted(make_islands(), threshold=0.95)
    assert (large["false_doubted"], large["true_doubted"]) == (2, 1)
