# SPDX-License-Identifier: Apache-2.0
"""Summary of Dice under disturbances: curves over severity, and the relative Dice kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.brats import REGIONS

Condition = tuple[str, float]  # name of a disturbance and its severity
Table = Mapping[Condition, np.ndarray]  # Dice (cases, 3) of each condition
CLEAN: Condition = ("none", 0.0)
RESAMPLES = 2000


def summarise(tables: Mapping[str, Table], groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Summarises Dice under disturbances as curves and as one number for each checkpoint and group of disturbances.

    The number, `kept`, is the mean relative Dice kept: the mean Dice over cases under a disturbance divided by that of
    the clean images, averaged over the disturbances of the group, their severities and the regions. A region that a
    checkpoint never finds has no relative Dice: it is None and left out of the mean.

    Args:
        tables: for each checkpoint the Dice (cases, 3) of each condition including `CLEAN`, cases in the same order.
        groups: names of the disturbances of each group.

    Returns:
        For each checkpoint `clean`, the mean Dice of each region; `kept`, for each group the `mean` with its 95 %
        bootstrap interval over cases, `low` to `high`; `against_first`, the same for the difference in `kept` from the
        first checkpoint, paired by case; `curves`, for each disturbance `severity`, and `dice` and `kept` by region.
    """
    first = next(iter(tables.values()))
    return {
        name: {
            "clean": dict(zip(REGIONS, table[CLEAN].mean(axis=0).tolist())),
            "kept": {group: interval([table], names) for group, names in groups.items()},
            "against_first": {group: interval([table, first], names) for group, names in groups.items()},
            "curves": curves(table),
        }
        for name, table in tables.items()
    }


def curves(table: Table) -> dict[str, Any]:
    """Returns the severities of each disturbance, beginning with 0, with mean and relative Dice of each region."""
    clean = table[CLEAN].mean(axis=0)
    result: dict[str, Any] = {}
    for name in dict.fromkeys(name for name, _ in table if name != CLEAN[0]):
        severities = sorted(severity for other, severity in table if other == name)
        dice = np.stack([clean, *(table[name, severity].mean(axis=0) for severity in severities)])
        result[name] = {
            "severity": [0.0, *severities],
            "dice": dict(zip(REGIONS, dice.T.tolist())),
            "kept": {r: [_finite(v) for v in d] for r, d in zip(REGIONS, _ratio(dice, clean).T)},
        }
    return result


def interval(tables: Sequence[Table], names: Sequence[str]) -> dict[str, float | None] | None:
    """Returns the relative Dice kept under disturbances, or, of two tables, the first's minus the second's.

    Args:
        tables: one table, or two with the same cases.
        names: names of the disturbances.

    Returns:
        `mean`, and `low` and `high` of the 95 % percentile bootstrap interval over cases, which are None for a single
        case; None instead of all three if none of the disturbances was run.
    """
    stacks = [np.stack([t[CLEAN], *(t[c] for c in t if c[0] in names)]) for t in tables]
    if len(stacks[0]) == 1:
        return None

    def statistic(cases: np.ndarray) -> float:
        kept = [_kept(stack[:, cases]) for stack in stacks]
        return kept[0] - kept[1] if len(kept) > 1 else kept[0]

    everyone = np.arange(stacks[0].shape[1])
    low = high = math.nan
    if len(everyone) > 1:
        draws = np.random.default_rng(0).integers(len(everyone), size=(RESAMPLES, len(everyone)))
        drawn = np.array([statistic(cases) for cases in draws])
        # a resample in which no region is found has no relative Dice
        low, high = np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(drawn).any() else (math.nan, math.nan)
    return {"mean": _finite(statistic(everyone)), "low": _finite(low), "high": _finite(high)}


def _kept(stack: np.ndarray) -> float:
    """Returns the mean relative Dice kept of (conditions, cases, regions); the first condition is the clean one."""
    clean, *disturbed = stack.mean(axis=1)
    ratios = _ratio(np.stack(disturbed), clean)
    return float(ratios[np.isfinite(ratios)].mean()) if np.isfinite(ratios).any() else math.nan


def _ratio(dice: np.ndarray, clean: np.ndarray) -> np.ndarray:
    return np.divide(dice, clean, out=np.full(dice.shape, np.nan), where=clean > 0)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
