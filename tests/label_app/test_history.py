# SPDX-License-Identifier: Apache-2.0
"""Versions and decisions: nobody's work hides anybody else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.label_app.history import History, VersionConflictError, read_voxels
from tests.data.test_checks import make_label

MINE, THEIRS = make_label((1, 2, 4)), make_label((2, 2, 2))


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "review", "case")


def save(history: History, labels: np.ndarray, **options: Any) -> int:
    return history.save(labels, np.eye(4), **{"by": "me", "client": "test"} | options)


def test_a_save_on_an_old_version_is_a_conflict_and_loses_nothing(history: History) -> None:
    assert save(history, MINE, based_on=0, by="A") == 1
    with pytest.raises(VersionConflictError, match="A has saved version 1 since you opened the case") as caught:
        save(history, THEIRS, based_on=0, by="B")
    assert caught.value.newest["by"] == "A"
    np.testing.assert_array_equal(read_voxels(history.place(1)), MINE)
    assert save(history, THEIRS, based_on=1, by="B") == 2
    np.testing.assert_array_equal(read_voxels(history.place(1)), MINE)
    np.testing.assert_array_equal(read_voxels(history.place(2)), THEIRS)
    assert [(version["version"], version["by"], version["based_on"]) for version in history.versions()] == [
        (1, "A", 0),
        (2, "B", 1),
    ]


def test_the_same_voxels_are_no_new_version(history: History) -> None:
    assert save(history, MINE, based_on=0) == 1
    assert save(history, MINE, based_on=1, decision="reviewed") == 1
    assert history.newest() == 1


def test_a_case_is_a_draft_until_a_person_decides(history: History) -> None:
    assert history.state() == {"state": "none", "version": 0, "draft": 0}
    save(history, MINE)
    assert history.state()["state"] == "draft"
    save(history, THEIRS, decision="reviewed", by="Dr. A", comment="core is larger")
    state = history.state()
    assert {name: state[name] for name in ("state", "version", "by", "comment", "draft")} == {
        "state": "reviewed",
        "version": 2,
        "by": "Dr. A",
        "comment": "core is larger",
        "draft": 0,
    }
    assert state["at"]
    save(history, MINE, by="B")
    assert (history.state()["state"], history.state()["version"], history.state()["draft"]) == ("reviewed", 2, 3)
    history.decide("rejected", version=3, by="Dr. C", comment="moved")
    assert history.state()["state"] == "rejected"
    assert [decision["by"] for decision in history.record()["decisions"]] == ["Dr. A", "Dr. C"]


def test_a_decision_is_on_a_version_that_exists(history: History) -> None:
    with pytest.raises(BundleError, match="has no version 3"):
        history.decide("reviewed", version=3, by="me")


def test_a_version_whose_record_was_lost_is_still_there(history: History) -> None:
    save(history, MINE)
    history.file.unlink()
    assert [(version["version"], version["by"]) for version in history.versions()] == [(1, "unknown")]
    assert save(history, THEIRS) == 2


def test_a_save_that_is_cut_off_leaves_what_was_there(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    save(history, MINE)

    def cut_off(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", cut_off)
    with pytest.raises(KeyboardInterrupt):
        save(history, THEIRS)
    monkeypatch.undo()
    assert history.newest() == 1
    np.testing.assert_array_equal(read_voxels(history.place(1)), MINE)
