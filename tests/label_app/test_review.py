# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scripts.data.phantoms import make_cohort
from tests.data.test_checks import MODALITIES, save
from tests.label_app.test_app import Server, installed

TURNED = ("PIL", "ASR")


def make_turned_case(folder: Path, axes: str) -> None:
    """A case whose file axes are not those of BraTS, in uncompressed files."""
    rng = np.random.default_rng(len(axes))
    affine = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(axes), (20, 24, 28)) @ np.diag([2, 3, 1.5, 1])
    for name in MODALITIES:
        save(folder / f"{folder.name}_{name}.nii", rng.integers(1, 900, (20, 24, 28)).astype(np.int16), affine)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not installed:
        pytest.skip("MONAI Label is not installed: requirements-label.txt")
    folder = tmp_path_factory.mktemp("review")
    make_cohort(folder / "studies", cases=3, shape=(48, 48, 40))
    for axes in TURNED:
        make_turned_case(folder / "studies" / f"turned_{axes}", axes)
    server = Server(folder)
    yield server
    server.stop()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """The page, opened; it may ask nobody but its server, and nothing but refused requests may show on the console."""
    said: list[str] = []
    asked: list[str] = []
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    opened = context.new_page()
    opened.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: said.append(f"page error: {error}"))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(f"{server.url}/review/")
    opened.wait_for_selector("html[data-review=ready]", timeout=120_000)
    idle(opened)
    yield opened
    assert [line for line in said if "ReadPixels" not in line and "responded with a status of 4" not in line] == []
    assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []
    context.close()


def idle(page: Any) -> None:
    page.wait_for_selector("body[aria-busy=false]", timeout=120_000)


def click(page: Any, selector: str) -> None:
    page.click(selector)
    idle(page)


def slide(page: Any, overlay: str, value: int) -> None:
    page.locator(f"[data-overlay={overlay}]").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


def stroke(page: Any, start: tuple[int, int], end: tuple[int, int]) -> None:
    box = page.locator("#canvas").bounding_box()
    page.mouse.move(box["x"] + start[0], box["y"] + start[1])
    page.mouse.down()
    page.mouse.move(box["x"] + end[0], box["y"] + end[1], steps=4)
    page.mouse.up()


def changes(page: Any, action: Callable[[], object]) -> bool:
    """Does an action change what is drawn, within some seconds?"""
    canvas = page.locator("#canvas")
    before = canvas.screenshot()
    action()
    for _ in range(40):
        page.wait_for_timeout(50)
        if canvas.screenshot() != before:
            return True
    return False


def final(server: Server, case: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_filename(server.client.download_label(case, "final"))


@pytest.mark.label
def test_a_case_is_segmented_seen_corrected_and_saved(page: Any, server: Server) -> None:
    case = "phantom_000"
    assert "Not for diagnosis." in page.inner_text("header")
    assert page.is_disabled("#save")
    click(page, f"tr[data-case={case}] button")
    assert page.inner_text("#origin") == "no label yet"
    assert page.locator("[data-overlay=confidence]").is_disabled()

    assert changes(page, lambda: click(page, "#segment"))
    assert page.inner_text("#origin") == "segmented · not saved"
    expected, metrics = server.infer("confidence", case)
    for name, row in (("oedema", "[data-values='2']"), ("WT", "[data-region=WT]")):
        shown = float(page.inner_text(f"{row} td >> nth=0"))
        assert shown == pytest.approx(metrics["volumes_ml"][name], abs=0.051)  # one decimal, ties either way
    assert page.inner_text("[data-region=WT] td >> nth=1") == f"{metrics['mean_confidence']['WT']:.3f}"
    assert f"axial {metrics['slice']['index'] + 1} / 40" in page.inner_text("#readout")
    assert changes(page, lambda: click(page, "[data-modality=T1]"))
    assert changes(page, partial(slide, page, "confidence", 70))
    assert changes(page, partial(slide, page, "label", 90))
    click(page, "#save")
    np.testing.assert_array_equal(final(server, case).dataobj, expected)

    page.click("[data-pen='4']")
    page.select_option("#size", "3")
    assert changes(page, partial(stroke, page, (110, 130), (140, 150)))
    axial, coronal, sagittal = map(int, re.findall(r"(\d+) /", page.inner_text("#readout")))
    stroke(page, (180, 130), (190, 150))
    page.click("#undo")
    assert page.inner_text("#origin") == "saved as reviewed, version 1 · not saved"
    click(page, "#save")
    assert page.inner_text("#origin") == "saved as reviewed, version 2"
    assert "reviewed" in page.inner_text(f"tr[data-case={case}]")
    assert page.inner_text("#count") == "1 of 5 cases reviewed"

    saved = final(server, case)
    found = np.asarray(saved.dataobj)
    scan = nib.Nifti1Image.from_filename(server.studies / case / f"{case}_t1.nii.gz")
    np.testing.assert_allclose(saved.affine, scan.affine, atol=1e-5)
    assert found.dtype == np.uint8
    # the crosshair is where the first stroke ended; its slices count from the right and from the back
    end = (48 - sagittal, 48 - coronal, axial - 1)
    changed = np.argwhere(found != expected)
    assert found[end] == 4
    assert set(found[tuple(changed.T)]) == {4}
    assert len(changed) >= 9
    assert (np.abs(changed - end) <= (9, 7, 0)).all()


@pytest.mark.label
@pytest.mark.parametrize("axes", TURNED)
def test_a_saved_label_is_opened_and_saved_as_it_is_however_the_scan_lies(
    axes: str, page: Any, server: Server, tmp_path: Path
) -> None:
    case = f"turned_{axes}"
    scan = nib.Nifti1Image.from_filename(server.studies / case / f"{case}_t1.nii")
    labels = np.random.default_rng(0).choice(np.array([0, 1, 2, 4], np.uint8), scan.shape)
    server.client.save_label(case, save(tmp_path / "sent.nii.gz", labels, scan.affine), "original", {})
    page.reload()
    page.wait_for_selector("html[data-review=ready]", timeout=120_000)
    idle(page)
    click(page, f"tr[data-case={case}] button")
    assert page.inner_text("#origin") == "label original, version 1"
    shown = float(page.inner_text("[data-region=ET] td >> nth=0"))
    assert shown == pytest.approx((labels == 4).sum() * 0.009, abs=0.051)
    click(page, "#save")
    np.testing.assert_array_equal(final(server, case).dataobj, labels)
    np.testing.assert_allclose(final(server, case).affine, scan.affine, atol=1e-5)


@pytest.mark.label
def test_cases_are_scored_and_the_next_one_is_that_of_the_strategy(page: Any, server: Server) -> None:
    page.click("#score")
    assert page.locator("#progress").is_visible()
    page.wait_for_selector("#score:enabled", timeout=240_000)
    assert page.inner_text("#scored") == "all scored"
    objects = server.client.datastore()["objects"]
    scores = {case: known["image"]["info"].get("confidence") or 2 for case, known in objects.items()}
    listed = [line.get_attribute("data-case") for line in page.locator("#cases tr").all()]
    assert listed == sorted(scores, key=lambda case: (scores[case], case))
    open_cases = [case for case in listed if not objects[case]["labels"].get("final")]
    for strategy, expected in (("least_confident", open_cases[0]), ("most_confident", open_cases[-1])):
        page.select_option("#strategy", strategy)
        click(page, "#next")
        assert page.inner_text("#case") == expected
        assert page.get_attribute(f"tr[data-case={expected}]", "aria-current") == "true"


@pytest.mark.label
def test_an_error_of_the_server_is_shown_in_words(page: Any, server: Server) -> None:
    case = "phantom_002"
    click(page, f"tr[data-case={case}] button")
    assert page.locator("#problem").is_hidden()
    scan = server.studies / case / f"{case}_t2.nii.gz"
    scan.rename(scan.with_suffix(".away"))
    click(page, "#segment")
    assert "t2" in page.inner_text("#problem")
    assert "(422)" in page.inner_text("#problem")
    scan.with_suffix(".away").rename(scan)
    click(page, "#segment")
    assert page.locator("#problem").is_hidden()


@pytest.mark.label
def test_where_the_server_asks_who_it_is_the_page_asks_too(page: Any, server: Server) -> None:
    def guarded(route: Any) -> None:
        if route.request.headers.get("authorization") == "Bearer xyz":
            route.continue_()
        else:
            route.fulfill(status=401, json={"detail": "Not authenticated"})

    page.route("**/datastore/**", guarded)
    page.route("**/auth/token*", lambda route: route.fulfill(json={"access_token": "xyz", "token_type": "bearer"}))
    click(page, "tr[data-case=phantom_001] button")
    assert page.inner_text("#problem") == "Not authenticated (401)"
    page.fill("[name=username]", "me")
    page.fill("[name=password]", "mine")
    click(page, "#sign-in button")
    assert page.locator("#sign-in").is_hidden()
    click(page, "tr[data-case=phantom_001] button")
    assert page.inner_text("#case") == "phantom_001"


@pytest.mark.label
def test_nothing_but_the_pages_own_files_is_given(server: Server) -> None:
    import requests

    assert "default-src 'none'" in requests.get(f"{server.url}/review/", timeout=30).headers["content-security-policy"]
    assert requests.get(f"{server.url}/review/niivue.umd.js", timeout=30).ok
    for name in ("review.html", "review.py", "..%2fmain.py", "%2e%2e/main.py", "..%5cmain.py", "%2fetc%2fhostname"):
        assert requests.get(f"{server.url}/review/{name}", timeout=30).status_code == 404
