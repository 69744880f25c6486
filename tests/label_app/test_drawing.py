# SPDX-License-Identifier: Apache-2.0
"""What the tools draw, in a real browser on a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from tests.data.test_checks import MODALITIES, save
from tests.label_app.opened_page import (
    changes,
    click,
    newest,
    open_case,
    press,
    stroke,
    volume,
)
from tests.label_app.running_server import Server, needs_server

pytestmark = [needs_server, pytest.mark.label]
SHAPE, SPACING = (44, 40, 30), (1.0, 1.25, 2.0)
CUBE = (slice(16, 30), slice(14, 28), slice(10, 21))  # bright, and in the middle, where the crosshair is at first


def block(modality: int) -> np.ndarray:
    scan = np.zeros(SHAPE, np.int16)
    scan[2:-2, 2:-2, 2:-2] = 40 + modality
    scan[CUBE] = 200 + modality
    return scan


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("drawing")
    for case in ("block", "other"):
        for number, name in enumerate(MODALITIES):
            affine = np.diag([*SPACING, 1.0])
            save(folder / "studies" / case / f"{case}_{name}.nii.gz", block(number), affine)
    server = Server(folder)
    yield server
    server.stop()


@pytest.fixture
def block_page(page: Any, server: Server) -> Any:
    """The case `block`, opened without a label."""
    case = server.studies / "block" / "review"
    for file in case.glob("*") if case.exists() else ():
        file.unlink()
    open_case(page, "block")
    press(page, "k")
    return page


def dot(opened: Any) -> None:
    stroke(opened, (0, 0), (0, 0))


def saved(opened: Any, server: Server) -> np.ndarray:
    """Saves the drawing and returns what is stored, on the axes of the scan."""
    press(opened, "Control+s")
    assert opened.inner_text("#origin").startswith("saved as draft")
    return newest(server, "block")[0]


@pytest.mark.parametrize(("form", "mm"), [("disc", 1), ("disc", 5), ("disc", 12), ("ball", 5), ("ball", 12)])
def test_a_brush_is_a_disc_or_a_ball_in_mm(form: str, mm: int, block_page: Any, server: Server) -> None:
    block_page.select_option("#form", form)
    block_page.select_option("#brush", str(mm))
    dot(block_page)
    drawn = np.argwhere(saved(block_page, server))
    middle = drawn.mean(axis=0)
    np.testing.assert_array_equal(middle, middle.round())
    away = np.linalg.norm((np.moveaxis(np.indices(SHAPE), 0, -1) - middle) * SPACING, axis=-1)
    if form == "disc":
        away[..., np.arange(SHAPE[2]) != middle[2]] = np.inf
    assert {*map(tuple, drawn)} == {*map(tuple, np.argwhere(away <= mm / 2))}


def test_keys_change_the_brush_and_hide_one_label(block_page: Any) -> None:
    block_page.select_option("#brush", "8")
    dot(block_page)
    for key, brush in (("[", "5"), ("]", "8"), ("]", "12")):
        block_page.keyboard.press(key)
        assert block_page.input_value("#brush") == brush
    block_page.keyboard.press("p")
    assert block_page.input_value("#form") == "ball"
    assert changes(block_page, lambda: block_page.keyboard.press("Shift+K"))
    assert not block_page.is_checked("[data-visible='1']")
    assert block_page.is_checked("[data-visible='2']")
    assert changes(block_page, lambda: block_page.keyboard.press("Shift+K"))


def test_a_stroke_has_no_gaps(block_page: Any, server: Server) -> None:
    from scipy.ndimage import label

    block_page.select_option("#brush", "1")
    stroke(block_page, (-60, -40), (70, 90))
    drawn = saved(block_page, server)
    assert drawn.sum() > 5
    assert label(drawn, np.ones((3, 3, 3)))[1] == 1


@pytest.mark.parametrize(("form", "across"), [("flat-region", 1), ("region", 11)])
def test_a_click_draws_what_is_as_bright_and_connected(form: str, across: int, block_page: Any, server: Server) -> None:
    block_page.select_option("#form", form)
    block_page.select_option("#brush", "20")
    dot(block_page)
    drawn = saved(block_page, server)
    assert drawn[CUBE].sum() == drawn.sum()  # it stops where the brightness changes
    slices = np.flatnonzero(drawn.any(axis=(0, 1)))
    assert len(slices) == across
    assert drawn[(*CUBE[:2], slices[len(slices) // 2])].all()
    block_page.keyboard.down("Control")
    dot(block_page)
    block_page.keyboard.up("Control")
    assert volume(block_page, "[data-values='1']") == 0  # the eraser takes the region away again


def test_a_region_ends_where_the_brush_does(block_page: Any, server: Server) -> None:
    block_page.select_option("#form", "region")
    block_page.select_option("#brush", "5")
    dot(block_page)
    drawn = np.argwhere(saved(block_page, server))
    reach = np.abs(drawn - drawn.mean(axis=0).round()) * SPACING
    assert 3 < reach.max() <= 5


def test_a_brush_inside_the_window_spares_what_is_darker(block_page: Any, server: Server) -> None:
    block_page.select_option("#form", "window")
    block_page.select_option("#brush", "20")
    block_page.select_option("#window", "dark")  # for bright tissue
    dot(block_page)
    assert "or the window" in block_page.inner_text("#problem")
    drawn = saved(block_page, server)
    assert drawn[CUBE].sum() == drawn.sum() > 50


def test_slices_between_drawn_ones_are_filled_and_nothing_else(block_page: Any, server: Server) -> None:
    block_page.select_option("#brush", "8")
    dot(block_page)
    press(block_page, "o")
    stroke(block_page, (60, 60), (60, 60))
    press(block_page, "g")
    assert "No slices to fill" in block_page.inner_text("#problem")
    press(block_page, "k")
    for _ in range(4):
        block_page.keyboard.press("ArrowUp")
    dot(block_page)
    before = saved(block_page, server)
    press(block_page, "g")
    assert "3 slices filled" in block_page.inner_text("#problem")
    after = saved(block_page, server)
    slices = np.flatnonzero((before == 1).any(axis=(0, 1)))
    assert slices.tolist() == [slices[0], slices[0] + 4]
    for k in range(slices[0] + 1, slices[-1]):
        both = (before[:, :, slices[0]] == 1) & (after[:, :, k] == 1)
        assert both.sum() > 0.9 * (before[:, :, slices[0]] == 1).sum()
    np.testing.assert_array_equal(after == 2, before == 2)
    np.testing.assert_array_equal(after[:, :, slices], before[:, :, slices])
    press(block_page, "Control+z")
    np.testing.assert_array_equal(saved(block_page, server), before)


def test_an_outline_is_filled(block_page: Any, server: Server) -> None:
    block_page.select_option("#form", "area")
    box = block_page.locator("#canvas").bounding_box()
    block_page.select_option("#view", "0")
    click(block_page, "[data-tool='1']")
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    block_page.mouse.move(x - 80, y - 80)
    block_page.mouse.down()
    for corner in ((80, -80), (80, 80), (-80, 80), (-80, -80)):
        block_page.mouse.move(x + corner[0], y + corner[1], steps=5)
    block_page.mouse.up()
    block_page.wait_for_timeout(200)
    drawn = saved(block_page, server)
    inside = np.argwhere(drawn)
    low, high = inside.min(axis=0), inside.max(axis=0)
    assert drawn.sum() == np.prod(high - low + 1) > 25


def test_a_window_is_kept_for_its_modality(page: Any) -> None:
    open_case(page, "block")
    page.select_option("#window", "dark")
    click(page, "[data-modality=T1]")
    assert page.input_value("#window") == "usual"
    page.select_option("#window", "full")
    open_case(page, "other")
    assert page.input_value("#window") == "full"
    click(page, "[data-modality=FLAIR]")
    assert page.input_value("#window") == "dark"
    page.select_option("#view", "0")
    box = page.locator("#canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 200, y + 150, steps=3)  # from the cube into what is around it
    page.mouse.up(button="right")
    page.wait_for_timeout(200)
    assert page.input_value("#window") == "hand"
    by_hand = page.inner_text("#readout").split("window ")[1]
    click(page, "[data-modality=T1]")
    click(page, "[data-modality=FLAIR]")
    assert page.inner_text("#readout").split("window ")[1] == by_hand
    open_case(page, "block")
    assert page.input_value("#window") == "dark"  # what was set by hand is of one case


def test_a_distance_is_drawn_and_no_voxel(block_page: Any) -> None:
    press(block_page, "m")
    assert changes(block_page, lambda: stroke(block_page, (-60, 0), (60, 0)))
    assert block_page.inner_text("#origin") == "no label yet"


def test_another_version_is_seen_beside_mine_with_its_volumes(block_page: Any, server: Server) -> None:
    block_page.select_option("#brush", "8")
    dot(block_page)
    before = volume(block_page, "[data-values='1']")
    saved(block_page, server)
    press(block_page, "o")
    stroke(block_page, (-60, -60), (60, 60))
    click(block_page, "#versions li:first-child >> text=Compare")
    assert "v1 beside it" in block_page.inner_text("#origin")
    canvas = block_page.locator("#other canvas")
    assert canvas.bounding_box()["width"] > 200
    row = block_page.locator("[data-values='2'] td")
    assert (float(row.nth(0).inner_text()) > 0, row.nth(1).inner_text()) == (True, "0.0")
    assert float(block_page.locator("[data-values='1'] td").nth(1).inner_text()) == before
    assert block_page.locator("#about").evaluate("panel => panel.scrollWidth <= panel.clientWidth")
    assert changes(block_page, lambda: block_page.keyboard.press("ArrowUp"), "#other canvas")  # it moves along
    shown = block_page.inner_text("#readout")
    box = canvas.bounding_box()
    block_page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert changes(block_page, lambda: block_page.mouse.wheel(0, 300))  # and leads where it is scrolled
    assert block_page.inner_text("#readout") != shown
    press(block_page, "b")
    assert "voxels differ from v1" in block_page.inner_text("#problem")
    press(block_page, "b")
    assert block_page.locator("#other").is_hidden()
    assert float(row.nth(0).inner_text()) > 0


def test_the_newest_version_is_exported(block_page: Any, server: Server, tmp_path: Path) -> None:
    dot(block_page)
    stored = saved(block_page, server)
    with block_page.expect_download() as download:
        block_page.click("#export")
    assert download.value.suggested_filename == "block_v1.nii.gz"
    download.value.save_as(tmp_path / "block.nii.gz")
    exported: Any = nib.load(tmp_path / "block.nii.gz")
    np.testing.assert_array_equal(np.asarray(exported.dataobj), stored)
    assert server.get("review/cases/block/export/v9").status_code == 404
