# SPDX-License-Identifier: Apache-2.0
"""Training from the page: start, progress, stop, and what it says afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from scripts.data.phantoms import make_cohort
from tests.label_app.opened_page import click, idle, says
from tests.label_app.running_server import Server, needs_server, voxels

pytestmark = [needs_server, pytest.mark.label]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("training")
    make_cohort(folder / "studies", cases=3, shape=(48, 48, 40))
    server = Server(folder)
    yield server
    server.stop()


def open_training(page: Any) -> None:
    page.reload()
    page.wait_for_selector("html[data-review=ready]", timeout=120_000)
    idle(page)
    page.click("#training summary")


def test_a_training_is_started_followed_and_stopped(page: Any, server: Server) -> None:
    weights = server.bundle / "models" / "model.pt"
    before = weights.read_bytes()
    open_training(page)
    assert page.is_disabled("#train")
    assert page.inner_text("#verdict") == "Two reviewed cases are needed."
    for case in sorted(server.listed())[:2]:
        server.approve(case, voxels(server.studies / case / f"{case}_seg.nii.gz"))
    open_training(page)
    says(page, "#verdict", "2 reviewed cases")
    page.fill("#epochs", "400")
    click(page, "#train")
    assert page.is_disabled("#train")
    assert page.locator("#trained").is_visible()
    page.wait_for_selector("#trained[value]", timeout=300_000)
    says(page, "#verdict", "of 400")
    assert page.get_attribute("#trained", "max") == "400"
    click(page, "#stop")
    page.wait_for_selector("#stop[hidden]", state="attached", timeout=120_000)
    assert page.inner_text("#verdict") == "The training was stopped; the weights are as they were."
    assert page.is_enabled("#train")
    assert weights.read_bytes() == before


def told(count: int, *, better: bool) -> dict[str, Any]:
    cases = [{"case": f"phantom_{i:03d}", "before": 0.5 + i / 100, "after": 0.6 + i / 100} for i in range(count)]
    return {
        "running": False,
        "state": "done",
        "better": better,
        "before": 0.5,
        "after": 0.6,
        "cases": cases,
        "few": count < 5,
    }


@pytest.mark.parametrize(
    ("training", "words"),
    [
        (
            told(1, better=True),
            "0.500 before, 0.600 at best: better, and now served. Only 1 case decided: this says little.",
        ),
        (told(2, better=False), "not better; the weights are as they were. Only 2 cases decided: this says little."),
        (told(6, better=True), "better, and now served."),
        ({"running": False, "state": "failed", "message": "no space left"}, "The training failed: no space left"),
        ({"running": False, "state": "failed"}, "The training failed: see server.log"),
    ],
)
def test_the_verdict_names_the_cases_that_decided(
    training: dict[str, Any],
    words: str,
    page: Any,
    server: Server,
) -> None:
    answer = server.get("review/cases").json() | {"training": training}
    page.route("**/review/cases?*", lambda route: route.fulfill(json=answer))
    page.route("**/review/cases", lambda route: route.fulfill(json=answer))
    open_training(page)
    assert page.inner_text("#verdict").endswith(words)
    rows = [row.inner_text().split() for row in page.locator("#decided tbody tr").all()]
    decided = training.get("cases", [])
    assert rows == [[line["case"], f"{line['before']:.3f}", f"{line['after']:.3f}"] for line in decided]
    assert page.locator("#decided").is_visible() == bool(decided)
