# SPDX-License-Identifier: Apache-2.0
"""Schedules of loss weights over iterations."""

from __future__ import annotations


def ramp(iteration: int, *, start: int, length: int) -> float:
    """Returns a factor that rises linearly from 0 at iteration `start` to 1 at `start + length` and stays at 1.

    It introduces a loss term gradually, after the network has learnt the task from Dice.
    """
    if length == 0:
        return float(iteration > start)
    return min(max((iteration - start) / length, 0.0), 1.0)
