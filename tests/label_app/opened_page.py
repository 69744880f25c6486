# SPDX-License-Identifier: Apache-2.0
"""The review page, opened in a real browser on a real server: what a person does with it, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nibabel as nib
import numpy as np

from tests.label_app.running_server import Server, voxels


def open_page(browser: Any, server: Server, reviewer: str) -> Any:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.add_init_script(f"localStorage.setItem('reviewer', {reviewer!r})" if reviewer else "")
    opened = context.new_page()
    opened.goto(f"{server.url}/review/")
    opened.wait_for_selector("html[data-review=ready]", timeout=120_000)
    idle(opened)
    return opened


def idle(page: Any) -> None:
    page.wait_for_selector("body[aria-busy=false]", timeout=120_000)


def click(page: Any, selector: str) -> None:
    page.click(selector)
    page.wait_for_timeout(50)
    idle(page)


def press(page: Any, key: str) -> None:
    page.keyboard.press(key)
    page.wait_for_timeout(50)
    idle(page)


def says(page: Any, selector: str, words: str) -> None:
    """Waits until a text is there; the page's own rules forbid what Playwright's `wait_for_function` does."""
    for _ in range(600):
        if words in page.inner_text(selector):
            return
        page.wait_for_timeout(50)
    raise AssertionError(
        f"{selector}: {page.inner_text(selector)!r}, expected {words!r}; {page.inner_text('#problem')}"
    )


def open_case(page: Any, case: str) -> None:
    click(page, f"tr[data-case={case}] button")
    says(page, "#case", case)


def slide(page: Any, overlay: str, value: int) -> None:
    page.locator(f"[data-overlay={overlay}]").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


def stroke(page: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """A stroke, relative to the middle of the axial slice, which then fills the canvas."""
    if page.input_value("#view") != "0":
        tool = page.get_attribute("[data-tool][aria-pressed=true]", "data-tool")
        page.select_option("#view", "0")
        if tool != "look":
            page.click(f"[data-tool='{tool}']")
    box = page.locator("#canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x + start[0], y + start[1])
    page.mouse.down()
    page.mouse.move(x + end[0], y + end[1], steps=4)
    page.mouse.up()
    page.wait_for_timeout(150)


def changes(page: Any, action: Callable[[], object], canvas_of: str = "#canvas") -> bool:
    """Does an action change what a canvas shows, within some seconds?"""
    canvas = page.locator(canvas_of)
    before = canvas.screenshot()
    action()
    for _ in range(40):
        page.wait_for_timeout(50)
        if canvas.screenshot() != before:
            return True
    return False


def newest(server: Server, case: str) -> tuple[np.ndarray, Any]:
    version = server.details(case)["versions"][-1]
    place = server.studies / case / "review" / f"{case}_v{version['version']:03d}.nii.gz"
    return voxels(place), nib.Nifti1Image.from_filename(place)


def volume(page: Any, row: str) -> float:
    return float(page.inner_text(f"{row} td >> nth=0"))
