# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import math

from matplotlib.image import imread

from scripts.evaluation.reliability.plots import draw_reliability
from scripts.evaluation.reliability.summary import summarise
from tests.evaluation.reliability.test_summary import make_rows


def drawn(rows: list[dict]) -> bytes:
    return draw_reliability(summarise(rows), rows)


def test_the_picture_shows_calibration_and_expected_dice() -> None:
    picture = drawn(make_rows(0.7, 0.8))
    assert imread(io.BytesIO(picture)).shape[:2] == (676, 1612)
    assert picture == drawn(make_rows(0.7, 0.8))
    other = make_rows(0.7, 0.8)
    other[0]["expected_dice_critic"] = 0.1
    assert drawn(other) != picture
    other = make_rows(0.7, 0.8)
    other[0]["boundary_calibration"] = [(10, 3, 9), (0, 0, 0)]
    assert drawn(other) != picture


def test_a_case_in_which_nothing_was_predicted_is_left_out() -> None:
    rows = make_rows(0.7, 0.8)
    for row in rows:
        row |= {"expected_dice_critic": math.nan, "expected_dice_entropy": math.nan}
        row |= {f"{zone}_calibration": [(0, 0, 0)] for zone in ("boundary", "neighbourhood")}
    assert drawn(rows).startswith(b"\x89PNG")
