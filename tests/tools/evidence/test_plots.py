# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from PIL import Image

from scripts.tools.evidence.arms import ALONE, WITH_VAT
from scripts.tools.evidence.comparison import by_run
from scripts.tools.evidence.plots import draw_evidence, draw_labels, draw_parts
from tests.tolerances import EXACT
from tests.tools.evidence.written_cells import write_cell


def half_bars(container: object, *, axis: int) -> np.ndarray:
    """Returns half the length of each error bar."""
    assert isinstance(container, ErrorbarContainer)
    segments = np.array(container.lines[2][0].get_segments())
    return np.ptp(segments[..., axis], axis=1) / 2


def test_an_arm_stands_at_its_difference_with_its_error_over_runs(tmp_path: Path) -> None:
    cells = [
        *(write_cell(tmp_path, "Dice", seed, [0.1, 0.3]) for seed in (0, 1)),
        write_cell(tmp_path, "Dice, VAT", 0, [0.2, 0.4]),
        write_cell(tmp_path, "Dice, VAT", 1, [0.1, 0.3]),
    ]
    axes = Figure().subplots()
    draw_parts(axes, by_run(cells))
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["VAT"]
    clean, under_pgd = axes.containers
    for bars in (clean, under_pgd):
        assert isinstance(bars, ErrorbarContainer)
        assert bars.lines[0].get_xdata() == pytest.approx([0.05])
        assert half_bars(bars, axis=0) == pytest.approx([0.05])


def test_dice_stands_at_its_number_of_labels(tmp_path: Path) -> None:
    few = [write_cell(tmp_path / "few", ALONE, seed, [value, value]) for seed, value in enumerate((0.1, 0.3))]
    many = [write_cell(tmp_path / "many", arm, seed, [0.5, 0.7]) for arm in (ALONE, WITH_VAT) for seed in (0, 1)]
    axes = Figure().subplots()
    draw_labels(axes, {26: by_run(many), 4: by_run(few)})
    alone, with_vat = axes.containers
    assert isinstance(alone, ErrorbarContainer)
    assert isinstance(with_vat, ErrorbarContainer)
    assert alone.lines[0].get_xydata() == pytest.approx(np.array([[4, 0.2], [26, 0.6]]))
    assert half_bars(alone, axis=1) == pytest.approx([0.1, 0], abs=EXACT)
    assert with_vat.lines[0].get_xydata() == pytest.approx(np.array([[26, 0.6]]))
    assert list(axes.get_xticks()) == [4, 26]


def test_the_picture_has_both(tmp_path: Path) -> None:
    cells = [write_cell(tmp_path, arm, 0, [0.1, 0.3]) for arm in (ALONE, WITH_VAT)]
    picture = Image.open(io.BytesIO(draw_evidence(cells, {4: cells})))
    assert picture.width == 1248
