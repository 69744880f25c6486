# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from scripts.brats import REGIONS

Condition = tuple[str, float]  # a disturbance's name and its severity
Table = Mapping[Condition, np.ndarray]  # Dice of each condition, (cases, 3)
CLEAN: Condition = ("none", 0.0)
RESAMPLES = 2000


def summarise(tables: Mapping[str, Table], groups: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Turns Dice under disturbances into curves and into one number of each checkpoint and group.

    The number, `kept`, is the mean relative Dice kept: mean Dice over cases of a condition, divided by that of the
    clean images, averaged over all disturbances of the group, their severities and the regions. Of a region that a
    checkpoint never finds, relative Dice means nothing: it is None, and left out of the mean.

    Args:
        tables: of each checkpoint, Dice (cases, 3) of each condition, `CLEAN` among them, cases in one order.
        groups: the disturbances of which each number is the mean.

    Returns:
        Of each checkpoint: `clean`, mean Dice of each region; `kept`, of each group its `mean` with the bootstrap's
        95 % interval over cases, `low` to `high`; `against_first`, the same of the difference in `kept` to the first
        checkpoint, paired by case; `curves`, of each disturbance `severity`, `dice` and `kept` of each region.
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
    """Gives each disturbance's severities, from 0 on, with mean Dice and relative Dice kept of each region."""
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
    """Gives the relative Dice kept under some disturbances, or its difference of the first table to the second.

    Returns:
        `mean`, and `low` and `high` of the 95 % percentile interval of a bootstrap over cases; None for the latter
        where there is one case only; None altogether where none of the disturbances was run.
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
        # a draw of cases in which no region is found has no relative Dice
        low, high = np.nanpercentile(drawn, [2.5, 97.5]) if np.isfinite(drawn).any() else (math.nan, math.nan)
    return {"mean": _finite(statistic(everyone)), "low": _finite(low), "high": _finite(high)}


def _kept(stack: np.ndarray) -> float:
    """Relative Dice kept of (conditions, cases, regions), the first condition being the clean one."""
    clean, *disturbed = stack.mean(axis=1)
    ratios = _ratio(np.stack(disturbed), clean)
    return float(ratios[np.isfinite(ratios)].mean()) if np.isfinite(ratios).any() else math.nan


def _ratio(dice: np.ndarray, clean: np.ndarray) -> np.ndarray:
    return np.divide(dice, clean, out=np.full(dice.shape, np.nan), where=clean > 0)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
