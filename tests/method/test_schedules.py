# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.method.schedules import ramp


def test_it_rises_in_a_straight_line() -> None:
    weights = [ramp(iteration, start=2, length=4) for iteration in range(9)]
    assert weights == pytest.approx([0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1])


def test_without_a_length_it_is_full_from_the_first_iteration_after_the_start() -> None:
    assert [ramp(iteration, start=3, length=0) for iteration in (1, 3, 4)] == [0, 0, 1]
    assert ramp(1, start=0, length=0) == 1


@settings(deadline=None, max_examples=50)
@given(start=st.integers(0, 1000), length=st.integers(0, 1000), iteration=st.integers(0, 3000))
def test_it_never_falls_and_stays_between_0_and_1(start: int, length: int, iteration: int) -> None:
    now, later = (ramp(i, start=start, length=length) for i in (iteration, iteration + 1))
    assert 0 <= now <= later <= 1
    assert ramp(start, start=start, length=length) == 0
    assert ramp(start + max(length, 1), start=start, length=length) == 1
