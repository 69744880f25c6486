# SPDX-License-Identifier: Apache-2.0
"""The cases of a folder as MONAI Label's clients see them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.label_app.history import digest_of, read_voxels
from tests.data.test_checks import make_case, make_label, make_scan, save
from tests.label_app.running_server import installed, needs_server, voxels

pytestmark = needs_server
ONE, TWO, BROKEN = "BraTS2021_00001", "BraTS2021_00002", "BraTS2021_00003"
if installed:
    from fastapi import HTTPException

    from scripts.label_app.datastore import CaseDatastore
    from scripts.label_app.scoring import ByExpectedDice


@pytest.fixture
def datastore(tmp_path: Path) -> Any:
    for case in (ONE, TWO, BROKEN):
        make_case(tmp_path / "studies", case)
    (tmp_path / "studies" / BROKEN / f"{BROKEN}_t2.nii.gz").unlink()
    return CaseDatastore(str(tmp_path / "studies"))


@pytest.fixture
def label(tmp_path: Path) -> str:
    return save(tmp_path / "sent.nii.gz", make_label())


def refused(call: Any, *arguments: Any) -> tuple[int, str]:
    with pytest.raises(HTTPException) as caught:
        call(*arguments)
    return caught.value.status_code, caught.value.detail


def approve(datastore: Any, case: str, labels: np.ndarray) -> int:
    return datastore.history(case).save(labels, np.eye(4), by="Dr. A", client="test", decision="reviewed")


def test_each_whole_case_is_one_image(datastore: Any) -> None:
    assert datastore.list_images() == [ONE, TWO]
    assert voxels(datastore.get_image_uri(ONE)).shape == (16, 16, 16, 4)
    assert datastore.get_image_uri(f"{ONE}@flair").endswith(f"{ONE}_flair.nii.gz")
    assert set(datastore.json()["objects"]) == {ONE, TWO}
    assert datastore.status() == {"total": 2, "completed": 0, "label_tags": {}}


def test_a_case_that_comes_later_is_found(datastore: Any) -> None:
    make_case(datastore.studies, "BraTS2021_00004")
    assert datastore.item("BraTS2021_00004")["case"] == "BraTS2021_00004"


def test_unknown_broken_and_climbing_names_are_refused(datastore: Any) -> None:
    assert refused(datastore.item, "nobody")[0] == 404
    assert refused(datastore.get_image_uri, "../../etc/passwd")[0] == 404
    status, detail = refused(datastore.item, BROKEN)
    assert (status, "has no T2 file" in detail) == (422, True)
    assert refused(datastore.get_label_uri, ONE, "../../x")[0] == 422
    for refuse in (datastore.remove_image, datastore.set_name):
        assert refused(refuse, ONE)[0] == 501
    assert refused(datastore.remove_label, ONE, "final")[0] == 501


def test_what_a_client_saves_is_a_draft_and_nothing_to_train_with(datastore: Any, label: str) -> None:
    own = datastore.studies / ONE / f"{ONE}_seg.nii.gz"
    before = own.read_bytes()
    for _ in range(2):
        datastore.save_label(ONE, label, "final", {"client_id": "a script"})
    assert datastore.get_label_uri(ONE, "final") == ""
    assert Path(datastore.get_label_uri(ONE, "draft")) == own.parent / "review" / f"{ONE}_v001.nii.gz"
    assert datastore.get_label_info(ONE, "draft")["client"] == "a script"
    assert (datastore.get_labeled_images(), datastore.get_unlabeled_images()) == ([], [ONE, TWO])
    assert datastore.datalist() == []

    approve(datastore, ONE, make_label((2, 2, 2)))
    assert (datastore.get_labeled_images(), datastore.get_unlabeled_images()) == ([ONE], [TWO])
    assert [Path(item["label"]).name for item in datastore.datalist()] == [f"{ONE}_v002.nii.gz"]
    assert datastore.get_label_info(ONE, "final")["by"] == "Dr. A"
    datastore.save_label(ONE, label, "final", {})
    assert [Path(item["label"]).name for item in datastore.datalist()] == [f"{ONE}_v002.nii.gz"]
    np.testing.assert_array_equal(voxels(datastore.get_label_uri(ONE, "v1")), make_label())

    datastore.history(ONE).decide("rejected", version=3, by="Dr. B", comment="moved")
    assert datastore.datalist() == []
    assert datastore.get_unlabeled_images() == [TWO]
    assert own.read_bytes() == before
    datastore.looked_at = 0.0
    assert datastore.list_images() == [ONE, TWO]  # labels are no cases


def test_the_machines_segmentation_never_becomes_a_version(datastore: Any) -> None:
    about = {"stamp": "x", "metrics": {}, "voxels": digest_of(make_label())}
    datastore.save_segmentation(ONE, make_label(), make_label(), np.eye(4), about=about)
    assert datastore.history(ONE).state()["state"] == "none"
    assert set(datastore.get_labels_by_image_id(ONE)) == {"original", "uncertainty"}
    np.testing.assert_array_equal(read_voxels(Path(datastore.get_label_uri(ONE, "original"))), make_label())
    assert datastore.datalist() == []


def test_the_label_of_another_patient_is_refused(datastore: Any, label: str) -> None:
    datastore.save_label(TWO, label, "final", {})
    status, detail = refused(datastore.save_label, ONE, label, "final", {})
    assert (status, f"this is the label of {TWO}" in detail) == (422, True)
    assert datastore.history(ONE).newest() == 0
    about = {"stamp": "x", "metrics": {}, "voxels": digest_of(make_label((2, 2, 2)))}
    datastore.save_segmentation(TWO, make_label((2, 2, 2)), make_label(), np.eye(4), about=about)
    theirs = save(Path(label).with_name("theirs.nii.gz"), make_label((2, 2, 2)))
    assert refused(datastore.save_label, ONE, theirs, "final", {})[0] == 422


@pytest.mark.parametrize("tag", ["original", "v1", "uncertainty", "../x", "final.v1"])
def test_other_tags_are_refused(tag: str, datastore: Any, label: str) -> None:
    assert refused(datastore.save_label, ONE, label, tag, {})[0] == 422


def test_what_is_known_of_a_case_outlives_the_server(datastore: Any) -> None:
    datastore.update_image_info(ONE, {"expected_dice": 0.5})
    datastore.update_image_info(ONE, {"stamp": "x"})
    info = CaseDatastore(str(datastore.studies)).get_image_info(ONE)
    assert info == {"name": f"{ONE}.nii.gz", "expected_dice": 0.5, "stamp": "x"}


class Scored:
    """Says that all cases but one are scored by the present weights."""

    def is_scored(self, datastore: Any, case: str) -> bool:
        return case != "of old weights"


@pytest.mark.parametrize(("highest", "expected"), [(False, ["one", "two"]), (True, ["two", "one"])])
def test_strategies_follow_the_expected_dice_by_the_present_weights(
    highest: bool, expected: list[str], tmp_path: Path
) -> None:
    known: dict[str, dict[str, Any]] = {
        "one": {"expected_dice": 0.2},
        "two": {"expected_dice": 0.9},
        "of old weights": {"expected_dice": 1.0 if highest else 0.0},
        "unscored": {},
        "broken": {"fault": "x", "expected_dice": 0.5},
    }
    for number, case in enumerate(known):
        make_case(tmp_path / "studies", case)
        save(tmp_path / "studies" / case / f"{case}_t1.nii.gz", make_scan(number))
    store = CaseDatastore(str(tmp_path / "studies"))
    for case, info in known.items():
        store.update_image_info(case, info)
    picks, found = ByExpectedDice(Scored(), highest=highest), []  # type: ignore[arg-type]
    assert picks({"last": expected[0]}, store)["id"] == expected[1]  # type: ignore[index]
    while picked := picks({}, store):
        found.append(picked["id"])
        approve(store, picked["id"], make_label())
    assert found == [*expected, "of old weights", "unscored"]
