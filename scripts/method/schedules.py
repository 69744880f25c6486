# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations


def ramp(iteration: int, *, start: int, length: int) -> float:
    """Rises in a straight line from 0 at iteration `start` to 1 at `start + length`, and stays there.

    A loss term that is new to the network would otherwise jolt it: `start` lets Dice learn the task first.
    """
    if length == 0:
        return float(iteration > start)
    return min(max((iteration - start) / length, 0.0), 1.0)
