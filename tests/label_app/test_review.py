# SPDX-License-Identifier: Apache-2.0
"""The review page, in a real browser on a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scripts.data.phantoms import make_cohort
from tests.data.test_checks import MODALITIES, save
from tests.label_app.opened_page import (
    changes,
    click,
    idle,
    newest,
    open_case,
    open_page,
    press,
    says,
    slide,
    stroke,
    volume,
)
from tests.label_app.running_server import Server, needs_server, voxels
from tests.label_app.test_uploads import INSIDE, SHAPE, write_scan
from tests.tolerances import FLOAT32

pytestmark = [needs_server, pytest.mark.label]
# what NiiVue's own saving shifted or refused, and what its drawing tools do not expect
ODD = {
    "turned": {"axes": "PIL"},
    "oblique": {"axes": "ASR", "tilt": "oblique"},
    "extended": {"axes": "LPS", "extension": 1016, "dtype": "uint8"},
    "extended_far": {"axes": "LPS", "extension": 4088, "dtype": "float32"},
    "scaled": {"axes": "LPS", "slope": (0.5, -3.0)},
    "doubles": {"axes": "RAS", "dtype": "float64"},
    "byteswapped": {"axes": "LPS", "dtype": ">i2"},
    "four_axes": {"axes": "LPS", "fourth_axis": True},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("review")
    make_cohort(folder / "studies", cases=5, shape=(48, 48, 40))
    for case, kind in ODD.items():
        for name in MODALITIES:
            write_scan(folder / "studies" / case / f"{case}_{name}.nii", **kind)  # type: ignore[arg-type]
    save(folder / "studies" / "broken" / "broken_t1.nii.gz", np.ones((8, 8, 8), np.int16))
    server = Server(folder)
    yield server
    server.stop()


def test_a_case_is_segmented_seen_corrected_and_saved(page: Any, server: Server) -> None:
    case = "phantom_000"
    assert "Not for diagnosis." in page.inner_text("header")
    assert page.is_disabled("#approve")
    open_case(page, case)
    assert page.inner_text("#origin") == "no label yet"
    assert page.locator("[data-overlay=uncertainty]").is_disabled()

    assert changes(page, partial(press, page, "s"))
    says(page, "#origin", "machine's segmentation, not reviewed")
    assert page.inner_text("#origin") == "machine's segmentation, not reviewed"  # nobody has changed anything
    expected, metrics = server.infer("confidence", case)
    for name, row in (("oedema", "[data-values='2']"), ("WT", "[data-region=WT]")):
        # one decimal is shown, ties either way
        assert volume(page, row) == pytest.approx(metrics["volumes_ml"][name], abs=0.051)
    assert f"axial {metrics['slice']['index'] + 1} / 40" in page.inner_text("#readout")
    assert changes(page, partial(click, page, "[data-modality=T1]"))
    assert changes(page, partial(slide, page, "uncertainty", 70))
    assert changes(page, partial(slide, page, "label", 90))
    assert changes(page, partial(press, page, "h"))
    press(page, "h")
    assert changes(page, partial(press, page, "i"))
    press(page, "i")
    press(page, "Control+s")
    assert page.inner_text("#origin") == "saved as draft, version 1"
    np.testing.assert_array_equal(newest(server, case)[0], expected)
    assert server.listed()[case]["state"]["state"] == "draft"

    press(page, "e")
    page.select_option("#brush", "12")
    assert changes(page, partial(stroke, page, (-20, 5), (10, 20)))
    assert page.inner_text("#origin").startswith("changed, not saved")
    stroke(page, (-40, 30), (-30, 50))
    press(page, "Control+z")
    press(page, "Control+z")
    assert page.inner_text("#origin") == "saved as draft, version 1"
    press(page, "Control+y")
    assert page.inner_text("#origin").startswith("changed, not saved")
    press(page, "a")
    assert page.inner_text("#origin") == "approved, version 2"
    assert "reviewed" in page.inner_text(f"tr[data-case={case}]")
    assert page.inner_text("#count").startswith("1 of 14 cases reviewed")
    found, saved = newest(server, case)
    scan = nib.Nifti1Image.from_filename(server.studies / case / f"{case}_t1.nii.gz")
    np.testing.assert_allclose(saved.affine, scan.affine, rtol=FLOAT32)
    assert found.dtype == np.uint8
    changed = np.argwhere(found != expected)
    assert set(found[tuple(changed.T)]) == {4}
    assert len(changed) >= 4
    assert len(set(changed[:, 2])) == 1  # of one slice: the one that the readout tells
    axial = int(re.findall(r"axial (\d+) /", page.inner_text("#readout"))[0])
    assert set(changed[:, 2]) == {axial - 1}
    decision = server.details(case)["decisions"][-1]
    assert (decision["state"], decision["by"], decision["version"]) == ("reviewed", "Dr. A", 2)


@pytest.mark.parametrize("case", ODD)
def test_what_is_drawn_on_an_odd_scan_is_what_is_stored(case: str, page: Any, server: Server, tmp_path: Path) -> None:
    scan: Any = nib.load(server.studies / case / f"{case}_t1.nii")
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:-1, 1:-1, 1:-1] = np.random.default_rng(list(ODD).index(case)).choice(np.array([0, 1, 2, 4]), INSIDE)
    server.client.save_label(case, save(tmp_path / "sent.nii.gz", labels, scan.affine), "final", {"client_id": "x"})
    page.reload()
    page.wait_for_selector("html[data-review=ready]", timeout=120_000)
    idle(page)
    open_case(page, case)
    assert page.inner_text("#origin") == "version 1"
    size = float(np.prod(np.linalg.norm(scan.affine[:3, :3], axis=0)))
    # one decimal is shown, ties either way
    assert volume(page, "[data-region=ET]") == pytest.approx((labels == 4).sum() * size / 1000, abs=0.051)
    press(page, "o")
    page.select_option("#brush", "5")
    stroke(page, (-12, -12), (14, 12))
    shown = page.inner_text("#readout")
    press(page, "Control+s")
    assert page.inner_text("#problem") == ""
    assert page.inner_text("#origin") == "saved as draft, version 2"
    found, saved = newest(server, case)
    np.testing.assert_allclose(saved.affine, scan.affine, rtol=FLOAT32)
    changed = np.argwhere(found != labels)
    assert len(changed) >= 2
    assert set(found[tuple(changed.T)]) == {2}
    # all of one axial slice: in mm it lies where the readout's slice does
    at = nib.affines.apply_affine(saved.affine, changed)
    upright = nib.as_closest_canonical(scan)
    k = int(re.findall(r"axial (\d+) /", shown)[0]) - 1
    heights = nib.affines.apply_affine(np.linalg.inv(upright.affine), at)[:, 2]
    # affines are float32: of voxels of 1 to 1.5 mm and places of up to 16 mm, some ten terms and ten roundings
    np.testing.assert_allclose(heights, k, rtol=0, atol=100 * FLOAT32)


def test_a_pen_draws_only_where_and_when_it_is_meant_to(page: Any, server: Server) -> None:
    case = "phantom_001"
    open_case(page, case)
    press(page, "x")  # the tools have keys
    assert page.get_attribute("[data-tool='0']", "aria-pressed") == "true"
    press(page, "k")
    before = page.inner_text("#readout")
    page.select_option("#brush", "5")
    page.select_option("#view", "0")
    page.focus("#next")
    stroke(page, (0, 0), (5, 5))  # gives the picture the focus, no more
    assert volume(page, "[data-values='1']") == 0
    page.mouse.wheel(0, 300)
    page.wait_for_timeout(300)
    assert volume(page, "[data-values='1']") == 0
    assert page.inner_text("#readout") != before
    before = page.inner_text("#readout")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#readout") != before
    before = page.inner_text("#readout")
    stroke(page, (0, 0), (10, 5))
    assert volume(page, "[data-values='1']") > 0
    assert page.inner_text("#readout").split("label:")[0] == before.split("label:")[0]  # the other planes stay
    drawn = volume(page, "[data-values='1']")

    height = page.locator("#canvas").bounding_box()["height"]
    stroke(page, (0, -height / 2 + 40), (10, -height / 2 + 45))  # air
    assert volume(page, "[data-values='1']") == drawn
    page.keyboard.down("Control")
    stroke(page, (0, 0), (10, 5))
    page.keyboard.up("Control")
    assert volume(page, "[data-values='1']") < drawn

    page.keyboard.press("n")
    page.wait_for_selector("#question[open]")
    page.click("#question button[value='']")
    assert page.inner_text("#case") == case  # nothing is dropped without a question
    press(page, "Control+s")
    press(page, "k")
    open_case(page, "phantom_002")
    assert page.get_attribute("[data-tool=look]", "aria-pressed") == "true"
    stroke(page, (0, 0), (10, 5))
    assert volume(page, "[data-values='1']") == 0


def test_voxels_in_air_are_drawn_with_a_key_alone(page: Any, server: Server) -> None:
    open_case(page, "phantom_002")
    press(page, "k")
    page.select_option("#brush", "5")
    box = page.locator("#canvas").bounding_box()
    size = min(box["width"], box["height"])
    corner = (-size / 2 + 30, -size / 2 + 30)
    stroke(page, corner, corner)
    assert "outside the brain" in page.inner_text("#problem")
    assert volume(page, "[data-values='1']") == 0
    page.keyboard.down("Alt")
    stroke(page, corner, corner)
    page.keyboard.up("Alt")
    assert volume(page, "[data-values='1']") > 0
    press(page, "Control+z")


def test_two_people_on_one_case_see_each_other(page: Any, browser: Any, server: Server) -> None:
    case = "phantom_002"
    other = open_page(browser, server, "Dr. B")
    for opened, key, start in ((page, "k", (0, 0)), (other, "o", (10, 10))):
        open_case(opened, case)
        press(opened, key)
        opened.select_option("#brush", "5")
        stroke(opened, start, (start[0] + 8, start[1]))
    press(other, "Control+s")
    assert other.inner_text("#origin") == "saved as draft, version 1"

    page.keyboard.press("Control+s")
    page.wait_for_selector("#conflict[open]")
    assert "Dr. B has saved version 1" in page.inner_text("#conflict")
    click(page, "#conflict button[value=look]")
    assert "v1 beside it" in page.inner_text("#origin")
    assert float(page.locator("[data-values='2'] td").nth(1).inner_text()) > 0
    press(page, "b")
    assert "voxels differ from v1" in page.inner_text("#problem")
    press(page, "b")
    assert volume(page, "[data-values='1']") > 0
    assert volume(page, "[data-values='2']") == 0
    page.keyboard.press("a")
    page.wait_for_selector("#conflict[open]")
    click(page, "#conflict button[value=mine]")
    assert page.inner_text("#origin") == "approved, version 2"
    assert [version["by"] for version in server.details(case)["versions"]] == ["Dr. B", "Dr. A"]

    stroke(other, (14, 14), (20, 14))
    other.keyboard.press("Control+s")
    other.wait_for_selector("#conflict[open]")
    click(other, "#conflict button[value=theirs]")
    assert other.inner_text("#origin") == "version 2"
    other.click("#versions li:last-child >> text=Restore")
    says(other, "#origin", "restored")
    press(other, "Control+s")
    first, _ = newest(server, case)
    place = server.studies / case / "review" / f"{case}_v001.nii.gz"
    np.testing.assert_array_equal(first, voxels(place))
    assert len(server.details(case)["versions"]) == 3
    other.context.close()


def test_a_case_is_rejected_with_a_reason_and_approved_with_a_comment(page: Any, server: Server) -> None:
    case = "phantom_001"
    open_case(page, case)
    press(page, "k")
    page.select_option("#brush", "5")
    stroke(page, (0, 0), (9, 0))
    page.keyboard.press("r")
    page.wait_for_selector("#reason[open]")
    page.fill("#reason input", "the patient moved")
    page.keyboard.press("Enter")
    says(page, "#origin", "rejected")
    assert "rejected" in page.inner_text(f"tr[data-case={case}]")
    assert "the patient moved" in page.inner_text("#versions")
    page.keyboard.press("Shift+A")
    page.wait_for_selector("#comment[open]")
    page.fill("#comment input", "usable after all")
    page.keyboard.press("Enter")
    says(page, "#origin", "approved")
    assert server.listed()[case]["state"]["comment"] == "usable after all"


def test_who_saves_is_asked_once(browser: Any, server: Server) -> None:
    page = open_page(browser, server, "")
    open_case(page, "turned")
    page.keyboard.press("Control+s")
    page.wait_for_selector("#name[open]")
    page.fill("#name input", "Dr. C")
    page.keyboard.press("Enter")
    says(page, "#origin", "saved")
    assert page.inner_text("#person") == "Dr. C"
    page.context.close()


def test_cases_are_segmented_in_the_background_and_the_next_one_is_that_of_the_strategy(
    page: Any, server: Server
) -> None:
    import requests

    requests.post(f"{server.url}/scoring/expected_dice", timeout=60)
    page.reload()
    page.wait_for_selector("#scoring:not([hidden])", timeout=60_000)
    page.wait_for_selector("#scoring[hidden]", state="attached", timeout=240_000)
    listed = server.listed()
    names = [line.get_attribute("data-case") for line in page.locator("#cases tr").all()]
    faults = [name for name in names if listed[name]["fault"]]
    assert "broken" in faults
    assert names[-len(faults) :] == faults  # behind all that can be opened
    assert "no T1ce" in page.inner_text("tr[data-case=broken]")
    assert page.locator("tr[data-case=broken] button").count() == 0
    scored = [name for name in names if listed[name]["expected_dice"] is not None]
    assert scored == sorted(scored, key=lambda case: listed[case]["expected_dice"])
    words = [page.inner_text(f"tr[data-case={name}] td >> nth=0").strip() for name in scored]
    assert (words[0], words[-1], {*words} - {"low", "middle", "high"}) == ("low", "high", set())
    waits = [name for name in scored if listed[name]["state"]["state"] in ("none", "draft")]
    assert waits
    for strategy, expected in (("lowest_expected_dice", waits[0]), ("highest_expected_dice", waits[-1])):
        page.select_option("#strategy", strategy)
        click(page, "#next")
        assert page.inner_text("#case") == expected
        assert page.get_attribute(f"tr[data-case={expected}]", "aria-current") == "true"


@pytest.mark.parametrize(
    ("case", "act", "steps"), [("phantom_003", press, ("n", "a")), ("phantom_004", click, ("#next", "#approve"))]
)
def test_a_case_that_needs_no_correction_takes_two_keys_or_clicks(
    case: str, act: Any, steps: tuple[str, str], page: Any, server: Server
) -> None:
    machine, _ = server.infer("confidence", case)
    page.route("**/activelearning/*", lambda route: route.fulfill(json={"id": case}))
    act(page, steps[0])
    says(page, "#origin", "machine's segmentation, not reviewed")
    assert page.get_attribute("[data-tool=look]", "aria-pressed") == "true"
    act(page, steps[1])
    says(page, "#origin", "approved, version 1")
    np.testing.assert_array_equal(newest(server, case)[0], machine)


def test_a_case_that_comes_later_is_listed_without_a_restart(page: Any, server: Server) -> None:
    for name in MODALITIES:
        write_scan(server.studies / "later" / f"later_{name}.nii")
    page.wait_for_selector("tr[data-case=later]", timeout=60_000)


def test_an_error_of_the_server_is_shown_in_words(page: Any, server: Server) -> None:
    case = "phantom_000"
    open_case(page, case)
    assert page.locator("#problem").is_hidden()
    scan = server.studies / case / f"{case}_t2.nii.gz"
    scan.rename(scan.with_suffix(".away"))
    click(page, "#segment")
    assert "t2" in page.inner_text("#problem")
    scan.with_suffix(".away").rename(scan)
    click(page, "#segment")
    assert page.locator("#problem").is_hidden()


def worst_list(answer: dict[str, Any]) -> dict[str, Any]:
    """What the server says, with every state, and names and faults as long as they come."""
    broken = next(line for line in answer["cases"] if line["fault"])
    whole = next(line for line in answer["cases"] if not line["fault"])
    states = ("none", "draft", "reviewed", "rejected")
    made = [
        whole
        | {
            "case": f"UPENN-GBM-00{number}_{state}",
            "state": {"state": state, "draft": 3 if state in ("reviewed", "rejected") else 0},
        }
        | {"expected_dice": number / 10, "scored": True}
        for number, state in enumerate(states * 3)
    ]
    waits = whole | {"case": "waits", "state": {"state": "draft"}, "expected_dice": None, "scored": False}
    faulty = broken | {"case": "x" * 60, "fault": "/long/path/" + "y" * 90}
    running = {"running": True, "done": 123, "count": 1234, "failed": False}
    return answer | {"cases": [*answer["cases"], *made, waits, faulty], "scoring": running}


@pytest.mark.parametrize(("width", "height"), [(1024, 700), (1440, 900), (1920, 1080), (960, 600)])
def test_nothing_is_cut_or_below_the_fold(width: int, height: int, page: Any, server: Server) -> None:
    # 960 x 600 is what a window of 1440 x 900 has at 150 %
    answer = worst_list(server.get("review/cases").json())
    page.route("**/review/cases?*", lambda route: route.fulfill(json=answer))
    page.set_viewport_size({"width": width, "height": height})
    open_case(page, "phantom_000")
    page.wait_for_selector("tr[data-case=waits]", timeout=60_000)
    canvas = page.locator("#canvas").bounding_box()
    assert canvas["y"] + canvas["height"] <= height
    assert canvas["width"] >= 0.45 * width
    assert canvas["height"] >= 0.45 * height
    for button in page.locator("header button, .viewer button, .viewer select").all():
        box = button.bounding_box()
        assert 0 <= box["x"] <= width - box["width"], button.inner_text()
        assert box["y"] + box["height"] <= height, button.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.scrollHeight") <= height
    rows = page.locator(".tools").bounding_box()["height"] / page.locator("#undo").bounding_box()["height"]
    assert rows < 3  # two of them, and what is between
    for title in page.locator("#list thead th, #case, #origin").all():
        assert title.evaluate("title => title.scrollWidth <= title.clientWidth"), title.inner_text()
    for panel in ("#list", "#about", "aside >> nth=0"):
        assert page.locator(panel).evaluate("panel => panel.scrollWidth <= panel.clientWidth"), panel
    before = canvas
    page.evaluate("document.getElementById('problem').hidden = false")
    assert page.locator("#canvas").bounding_box() == before  # a message moves nothing


def test_the_keys_are_listed(page: Any) -> None:
    page.keyboard.press("?")
    page.wait_for_selector("#keys[open]")
    assert "Ctrl Z" in page.inner_text("#keys")
    assert page.locator("#keys dt").count() >= 30


def test_nothing_but_the_pages_own_files_is_given(server: Server) -> None:
    assert "default-src 'none'" in server.get("review/").headers["content-security-policy"]
    assert server.get("review/niivue.umd.js").ok
    for name in ("review.html", "review.py", "..%2fmain.py", "%2e%2e/main.py", "..%5cmain.py", "%2fetc%2fhostname"):
        assert server.get(f"review/{name}").status_code == 404
