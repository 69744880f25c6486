# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from markupsafe import Markup

from scripts.base.errors import BundleError
from scripts.evaluation.report.handler import write_pages
from scripts.evaluation.report.page import Plot, write_report
from scripts.evaluation.report.sections import Section
from tests.outputs import make_outputs, results_in

NAN = float("nan")
DICE = np.array([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3], [0.5, 0.5, NAN]])
METRICS = {"dice": DICE, "hd95": 10 * DICE[::-1], "volume_ml": 20 * DICE}


def text_of(path: Path) -> str:
    """The page as a reader sees it: without scripts, styles and tags."""
    page = re.sub(r"<(script|style)\b.*?</\1>", " ", path.read_text(), flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_the_page_has_the_metrics_and_what_was_left_out(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(path, ["z", "a", "m"], METRICS, title="Held-out cases", facts={"Weights": "models/model.pt"})
    text = text_of(path)
    for words in (
        "Held-out cases · 3 cases",
        "Not for diagnosis.",
        "models/model.pt",
        "Tumour core (TC) 5.0000 50.0000",
        "0.5000 ± 0.4000",
        "Left out, of 3 cases (no truth, or undefined): Dice ET 1; HD95 ET 1",
        "BraTS 2021. A region that only one",
    ):
        assert words in text
    assert "nan" not in text.lower()
    # worst first, and no metric is no zero
    assert re.search(r"a 0\.200 0\.100 .* m 0\.500 0\.500 0\.500 n/a .* z 0\.800", text)
    assert results_in(path.parent) == {path.name}


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    write_pages(tmp_path / "out", make_outputs(tmp_path), METRICS, title="t")
    page = (tmp_path / "out" / "report.html").read_text()
    page = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]*"', page)
    assert "url(" not in page
    assert "default-src 'none'" in page


def test_names_cannot_become_markup_but_sections_are(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    name = "<script>alert('case')</script>"
    sections = [Section("Robustness & more", Markup("<table id='curve'></table>"))]
    write_report(path, [name], {"dice": DICE[:1]}, title=name, facts={name: name}, sections=sections)
    page = path.read_text()
    assert name not in page
    assert page.count("&lt;script&gt;alert(&#39;case&#39;)") >= 4
    assert "<table id='curve'></table>" in page
    assert '<a href="#section-1">Robustness &amp; more</a>' in page


def test_plots_have_words_for_those_who_do_not_see_them(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    write_report(path, ["a"], {"dice": DICE[:1]}, title="t", plots=[Plot("Boxes.", b"png")])
    assert '<img src="data:image/png;base64,cG5n" alt="Boxes.">' in path.read_text()
    with pytest.raises(BundleError, match="metrics: found"):
        write_report(path, ["a"], {}, title="t")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of three phantoms, of which the worst has no confidence."""
    folder = tmp_path_factory.mktemp("report")
    items = make_outputs(folder)
    (folder / "out" / f"{items[1]['case']}_confidence.nii.gz").unlink()
    return write_pages(folder / "out", items, METRICS, title="Phantoms")


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """The report, opened from its file without a network; no error or warning may show on the console."""
    said: list[str] = []
    context = browser.new_context(viewport={"width": 720, "height": 600}, offline=True)
    opened = context.new_page()
    opened.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: said.append(f"page error: {error}"))
    opened.on("requestfailed", lambda request: said.append(f"request: {request.url[:80]}"))
    opened.goto(report.as_uri())
    opened.wait_for_selector("html[data-viewer=ready]", timeout=120_000)
    yield opened
    # GPU drivers without a GPU complain of readbacks, which screenshots are
    assert [line for line in said if "GPU stall due to ReadPixels" not in line] == []
    context.close()


class Watch:
    """Compares what is drawn before and after an action."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.canvas = page.locator("#viewer-canvas")
        self.seen = self._settled(self.canvas.screenshot())

    def changes(self, action: Callable[[], object]) -> bool:
        """Does it change within some seconds?"""
        action()
        for _ in range(40):
            self.page.wait_for_timeout(50)
            if (now := self.canvas.screenshot()) != self.seen:
                self.seen = self._settled(now)
                return True
        return False

    def stays(self, action: Callable[[], object]) -> bool:
        """Does it stay the same for a moment?"""
        action()
        self.page.wait_for_timeout(200)
        return self.canvas.screenshot() == self.seen

    def _settled(self, last: bytes) -> bytes:
        while True:
            self.page.wait_for_timeout(50)
            if (now := self.canvas.screenshot()) == last:
                return now
            last = now


def slide(page: Any, selector: str, value: int) -> None:
    page.locator(selector).evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


def test_viewer_moves_slices_and_switches_modality_overlays_and_case(page: Any) -> None:
    watch, readout = Watch(page), page.locator("#viewer-readout")
    assert page.locator("[data-case='0']").get_attribute("aria-pressed") == "true"
    assert "phantom_001 · worst · Dice TC 0.100  WT 0.200  ET 0.300" in page.inner_text("#viewer-dice")
    assert page.locator("[data-overlay=confidence]").is_disabled()
    assert "FLAIR" in readout.inner_text()
    for axis in range(3):
        before = page.inner_text(f"[data-axis='{axis}'] + output")
        assert watch.changes(partial(slide, page, f"[data-axis='{axis}']", 12))
        assert page.inner_text(f"[data-axis='{axis}'] + output") != before
    assert watch.changes(lambda: page.click("[data-modality=T1]"))
    assert "T1 " in readout.inner_text()
    assert "confidence" not in readout.inner_text()

    assert watch.changes(lambda: page.click("[data-case='2']"))
    assert "phantom_000 · best" in page.inner_text("#viewer-dice")
    assert "confidence TC" in readout.inner_text()
    for overlay in ("truth", "prediction", "confidence"):
        assert watch.changes(partial(slide, page, f"[data-overlay={overlay}]", 70))
        assert page.inner_text(f"[data-overlay={overlay}] + output") == "70 %"
    assert watch.stays(partial(slide, page, "[data-overlay=truth]", 70))
    assert watch.changes(lambda: page.select_option("#viewer-region", "ET"))
    assert "confidence ET" in readout.inner_text()
    assert watch.changes(partial(slide, page, "[data-overlay=confidence]", 0))
    assert watch.changes(lambda: page.uncheck("#viewer-outline"))
    assert watch.changes(lambda: page.click("[data-viewer='0']"))
    assert "worst" in page.inner_text("#viewer-dice")
    assert page.locator("#viewer-problem").is_hidden()


def test_picture_follows_the_wheel_once_it_was_clicked(page: Any) -> None:
    canvas = page.locator("#viewer-canvas")
    canvas.click(position={"x": 120, "y": 150})
    watch, slice_number = Watch(page), page.locator("[data-axis='2'] + output")
    before = slice_number.inner_text()
    assert watch.changes(lambda: page.mouse.wheel(0, 100))
    assert slice_number.inner_text() != before


def test_list_of_cases_is_sorted_by_the_heading_that_is_clicked(page: Any) -> None:
    def order() -> list[str]:
        rows = page.locator("#case-table tbody tr th").all()
        return [row.get_attribute("data-value").removeprefix("phantom_00") for row in rows]

    assert order() == ["1", "2", "0"]
    page.click("#case-table button[data-column='1']")
    assert order() == ["0", "2", "1"]
    page.click("#case-table button[data-column='0']")
    assert order() == ["0", "1", "2"]
    # phantom_002 has no Dice of ET, so it comes last both ways
    for expected in (["1", "0", "2"], ["0", "1", "2"]):
        page.click("#case-table button[aria-label='Dice ET']")
        assert order() == expected
    headings = page.locator("#case-table th[aria-sort=descending]")
    assert headings.all_inner_texts() == ["ET"]


def test_page_fits_a_phone(browser: Any, report: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    opened = context.new_page()
    opened.goto(report.as_uri())
    opened.wait_for_selector("html[data-viewer=ready]", timeout=120_000)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    context.close()
