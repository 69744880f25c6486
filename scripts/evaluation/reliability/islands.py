# SPDX-License-Identifier: Apache-2.0
"""How many false islands of a segmentation are held wrong, and how many true ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.inference.islands import DOUBTED

SIZES = (0.1, 0.5)  # ml, the smallest islands that are counted
TRUE_SHARE = 0.1  # from which on an island is true


def is_true(island: Mapping[str, Any]) -> bool:
    """Returns whether enough of an island, by its `true_share`, is true."""
    return bool(island["true_share"] >= TRUE_SHARE)


def count_doubted(islands: Sequence[Mapping[str, Any]], *, threshold: float = DOUBTED) -> list[dict[str, float]]:
    """Counts false and true islands, and those of each that are held wrong.

    Args:
        islands: as `scripts.inference.ListIslandsd` lists them where there is a truth.
        threshold: probability below which an island is held wrong.

    Returns:
        For each of `SIZES`, `at_least_ml`, the numbers of `false` and `true` islands of at least that volume, and of
        those held wrong among them, `false_doubted` and `true_doubted`.
    """
    counts = []
    for size in SIZES:
        found: dict[str, float] = {"at_least_ml": size}
        large = [island for island in islands if island["volume_ml"] >= size]
        for name, truth in (("false", False), ("true", True)):
            probabilities = [island["probability"] for island in large if is_true(island) == truth]
            found |= {name: len(probabilities), f"{name}_doubted": sum(p < threshold for p in probabilities)}
        counts.append(found)
    return counts


def doubted_as_text(counts: Mapping[str, float]) -> str:
    """Returns the counts of a size as text."""
    return (
        f"of islands of at least {counts['at_least_ml']} ml, {counts['false_doubted']} of {counts['false']} false and "
        f"{counts['true_doubted']} of {counts['true']} true ones are held wrong"
    )
