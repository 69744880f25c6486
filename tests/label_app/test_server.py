# SPDX-License-Identifier: Apache-2.0
"""A real server, driven by MONAI Label's client and by plain requests."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.brats import TISSUE_VALUES
from scripts.data.phantoms import make_cohort
from tests.data.test_checks import save
from tests.label_app.running_server import Server, needs_server, voxels
from tests.outputs import label_dice
from tests.test_workflows import REAL_CASES, run_bundle
from tests.tolerances import EXACT

pytestmark = [needs_server, pytest.mark.label]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("label")
    make_cohort(folder / "studies", cases=4, shape=(48, 48, 40))
    if REAL_CASES.is_dir():
        real = sorted(REAL_CASES.iterdir())[0]
        (folder / "studies" / real.name).mkdir()
        for file in real.iterdir():
            (folder / "studies" / real.name / file.name).symlink_to(file)
    for name in ("t1", "t1ce", "flair"):
        save(folder / "studies" / "broken" / f"broken_{name}.nii.gz", np.ones((8, 8, 8), np.int16))
    server = Server(folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def own(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The bundle's own label maps of the server's whole cases."""
    folder = tmp_path_factory.mktemp("own")
    run_bundle("inferring", "configs/inference.yaml", dataset_dir=server.studies, output_dir=folder, cache_dir=folder)
    return {path.name.removesuffix("_seg.nii.gz"): voxels(path) for path in folder.glob("*_seg.nii.gz")}


def test_the_server_tells_what_it_offers(server: Server, own: dict[str, np.ndarray]) -> None:
    info = server.client.info()
    assert info["models"]["segmentation"]["labels"] == TISSUE_VALUES
    assert set(info["strategies"]) == {"lowest_expected_dice", "highest_expected_dice", "random"}
    assert info["datastore"]["total"] == len(own) == len(server.client.datastore()["objects"])
    assert server.client.next_sample("random", {})["id"] in own
    assert "has no T2 file" in server.listed()["broken"]["fault"]


def test_every_case_is_segmented_as_the_bundle_does_in_both_forms(server: Server, own: dict[str, np.ndarray]) -> None:
    for case, expected in own.items():
        labels, params = server.infer("segmentation", case)
        assert labels.shape == expected.shape
        assert set(np.unique(labels)) <= {0, 1, 2, 4}
        assert label_dice(labels, expected) >= 0.999
        present = {name: value for name, value in TISSUE_VALUES.items() if value in labels}
        assert list(params["label_names"].items()) == list(present.items())
        assert set(params["label_colours"]) == set(present)
    four = server.get("datastore/image", params={"image": case}).content
    (server.folder / "four.nii.gz").write_bytes(four)
    labels, _ = server.infer("segmentation", "", file=str(server.folder / "four.nii.gz"))
    assert label_dice(labels, expected) >= 0.999


def test_what_is_known_of_a_segmentation_is_told_and_kept(server: Server, own: dict[str, np.ndarray]) -> None:
    case = min(own)
    labels, params = server.infer("confidence", case)
    assert label_dice(labels, own[case]) >= 0.999
    assert set(params["mean_entropy"]) == {"TC", "WT", "ET"}
    assert 0 <= params["slice"]["index"] < labels.shape[2]
    assert params["note"] == "Not for diagnosis."
    uncertainty = voxels(server.client.download_label(case, params["overlay_tag"]))
    assert uncertainty.shape == labels.shape
    assert 0 < uncertainty.max() <= 100
    np.testing.assert_array_equal(voxels(server.client.download_label(case, "original")), labels)
    assert server.details(case)["segmentation"]["metrics"]["slice"] == params["slice"]
    assert server.listed()[case]["state"]["state"] == "none"


def test_a_list_does_not_wait_for_a_segmentation(server: Server, own: dict[str, np.ndarray]) -> None:
    finished: dict[str, float] = {}

    def timed(name: str, call: Any) -> None:
        call()
        finished[name] = time.monotonic()

    with ThreadPoolExecutor(4) as pool:
        cases = sorted(own)[-2:] * 2
        for number in range(3):
            pool.submit(timed, f"segmentation {number}", partial(server.infer, "segmentation", cases[number]))
        time.sleep(0.2)
        timed("list", server.listed)
        timed("scan", lambda: server.get(f"review/cases/{cases[0]}/scan/t1"))
    assert max(finished["list"], finished["scan"]) < max(finished.values())
    assert len(finished) == 5


def test_mistakes_are_answered_in_words(server: Server) -> None:
    assert "404" in server.message("segmentation", "nobody")
    assert "no case" in server.message("segmentation", "../../../etc/hostname")
    assert "no case" in server.message("segmentation", str(server.studies / "broken"))
    assert "has no T2 file" in server.message("segmentation", "broken")
    assert "no model 'other'" in server.message("other", "phantom_000")


def test_two_people_on_one_case_both_keep_their_work(server: Server, own: dict[str, np.ndarray]) -> None:
    case = "phantom_003"
    shape = server.details(case)["grid"]["shape"]
    mine, theirs = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    mine[20, 20, 20], theirs[21, 21, 21] = 1, 2
    assert server.put(case, theirs, by="Dr. B").json()["version"] == 1
    answer = server.put(case, mine, by="Dr. A")
    assert answer.status_code == 409
    assert "Dr. B has saved version 1" in answer.json()["detail"]["message"]
    assert answer.json()["detail"]["newest"]["by"] == "Dr. B"
    assert server.put(case, mine, by="Dr. A", based_on=1).json()["version"] == 2
    with ThreadPoolExecutor(6) as pool:  # of those who save at once on the same version, one comes first
        found = list(pool.map(lambda name: server.put(case, theirs * name, based_on=2, by=f"Dr. {name}"), [1, 2] * 3))
    assert sorted(answer.status_code for answer in found) == [200] + [409] * 5
    assert [version["version"] for version in server.details(case)["versions"]] == [1, 2, 3]


def test_a_decision_needs_a_person_and_a_rejection_a_reason(server: Server) -> None:
    drawing = np.zeros(server.details("phantom_002")["grid"]["shape"], np.uint8)
    assert "say who you are" in server.put("phantom_002", drawing, by=" ").json()["detail"]
    answer = server.put("phantom_002", drawing, what="decision/rejected")
    assert (answer.status_code, "say why" in answer.json()["detail"]) == (422, True)
    assert server.put("phantom_002", drawing, what="decision/whatever").status_code == 422
    assert server.details("phantom_002")["versions"] == []
    assert server.put("phantom_002", drawing, what="decision/rejected", comment="moved").ok
    assert server.listed()["phantom_002"]["state"]["comment"] == "moved"
    assert server.put("phantom_002", drawing, what="decision/reviewed", based_on=1).ok
    assert server.listed()["phantom_002"]["state"]["state"] == "reviewed"


def test_a_request_cannot_choose_other_weights(server: Server, own: dict[str, np.ndarray]) -> None:
    case = min(own)
    file, _ = server.client.infer("segmentation", case, {"model_filename": "critic.pt"})
    assert label_dice(voxels(file), own[case]) >= 0.999


def test_lines_of_the_guide_make_no_truth_of_what_a_machine_made(
    server: Server, own: dict[str, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    guide = (Path(__file__).parents[2] / "docs" / "label.md").read_text()
    lines = guide.split("```python\n")[1].split("```")[0].replace("http://127.0.0.1:8000", server.url)
    reviewed = {case for case, line in server.listed().items() if line["state"]["state"] == "reviewed"}
    known: dict[str, Any] = {}
    exec(lines, known)
    line = server.listed()[known["case"]]
    assert line["state"]["state"] == "draft"
    assert {case for case, line in server.listed().items() if line["state"]["state"] == "reviewed"} == reviewed
    assert known["case"] not in str(server.get("datastore/", params={"output": "train"}).json())


def test_the_page_of_another_site_may_neither_read_nor_write(server: Server) -> None:
    import requests

    for origin in ("https://evil.example", "null", f"http://localhost:{server.port}", "http://127.0.0.1:1"):
        for method, path in (("GET", "review/cases"), ("OPTIONS", "datastore/"), ("PUT", "datastore/label?image=x")):
            answer = requests.request(method, f"{server.url}/{path}", headers={"Origin": origin}, timeout=30)
            assert (answer.status_code, "access-control-allow-origin" in answer.headers) == (403, False)
    assert server.get("review/cases", headers={"Origin": server.url}).ok
    assert server.get("review/cases", headers={"Host": "rebound.example"}).status_code == 400


def test_what_is_refused_leaves_nothing_behind(server: Server, own: dict[str, np.ndarray]) -> None:
    import requests

    uploads = server.work / "uploads"
    before = sorted(uploads.iterdir())
    (server.folder / "bad.nii.gz").write_bytes(b"no NIfTI")
    for case in ("phantom_000", "nobody"):
        with (server.folder / "bad.nii.gz").open("rb") as file:
            answer = requests.put(f"{server.url}/datastore/label?image={case}", files={"label": file}, timeout=30)
        assert answer.status_code in (404, 422)
        with (server.folder / "bad.nii.gz").open("rb") as file:
            answer = requests.post(f"{server.url}/infer/segmentation", files={"file": file}, timeout=60)
        assert answer.status_code >= 400
    huge = (b"\0" * 2**20 for _ in range(600))
    try:
        answer = requests.put(f"{server.url}/review/cases/phantom_000/label?based_on=0&by=me", data=huge, timeout=60)
        assert answer.status_code == 413
    except requests.ConnectionError:  # the server need not hear it to the end
        pass
    assert sorted(uploads.iterdir()) == before


def test_nothing_is_written_into_the_installation(server: Server) -> None:
    app = Path(__file__).parents[2] / "scripts" / "label_app"
    assert not {"logs", "model", "bin", "lib"} & {place.name for place in app.iterdir()}
    assert (server.work / "server.log").stat().st_size > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--host", "0.0.0.0"], "would reach patients' images without a password"),
        (["--studies", "nowhere"], "no such folder"),
    ],
)
def test_a_server_that_would_not_be_safe_does_not_start(words: list[str], message: str, tmp_path: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-m", "scripts.label_app", "--studies", str(tmp_path), "--port", "1", *words]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_scoring_segments_every_case_that_waits_and_the_next_sample_follows(
    server: Server, own: dict[str, np.ndarray]
) -> None:
    import requests

    with ThreadPoolExecutor(4) as pool:  # started once, however often it is asked for
        asked = list(pool.map(lambda _: requests.post(f"{server.url}/scoring/expected_dice", timeout=60), range(4)))
    assert sorted(answer.status_code for answer in asked) == [200, 429, 429, 429]
    server.wait_for("scoring")
    listed = {case: line for case, line in server.listed().items() if line["state"]["state"] in ("none", "draft")}
    assert all(line["scored"] and line["segmented"] for line in listed.values())
    ranked = sorted(listed, key=lambda case: -listed[case]["expected_dice"])
    assert server.client.next_sample("lowest_expected_dice", {})["id"] == ranked[-1]
    assert server.client.next_sample("highest_expected_dice", {})["id"] == ranked[0]
    server.approve(ranked[-1], voxels(server.client.download_label(ranked[-1], "original")))
    np.testing.assert_array_equal(voxels(server.client.download_label(ranked[-1], "final")), own[ranked[-1]])
    assert server.client.next_sample("lowest_expected_dice", {})["id"] == ranked[-2]


def test_a_training_runs_once_tells_its_progress_and_serves_only_what_is_better(
    server: Server, own: dict[str, np.ndarray]
) -> None:
    import requests

    phantoms = [case for case in sorted(own) if case.startswith("phantom")]
    for case in phantoms[:3]:
        server.approve(case, voxels(next((server.studies / case).glob("*seg.nii.gz"))))
    served = server.bundle / "models" / "model.pt"
    before = served.read_bytes()
    body = {"max_epochs": 1, "val_split": 0.34}
    with ThreadPoolExecutor(2) as pool:
        asked = list(pool.map(lambda _: requests.post(f"{server.url}/train/segmentation", json=body, timeout=60), "ab"))
    assert sorted(answer.status_code for answer in asked) == [200, 429]
    assert server.get("review/cases").json()["training"]["running"]
    server.wait_for("train")
    told = server.get("review/cases").json()["training"]
    assert (told["running"], told["state"], told["few"]) == (False, "done", True)
    assert (served.read_bytes() != before) == told["better"] == (told["after"] > told["before"])
    assert {line["case"] for line in told["cases"]} <= set(own)
    assert np.mean([line["before"] for line in told["cases"]]) == pytest.approx(told["before"], abs=EXACT)
    events = EventAccumulator(str(server.bundle / "output" / "finetune" / "tensorboard"))
    events.Reload()
    assert events.Scalars("train/unlabelled_vat_loss")  # of the cases that wait for a review
    if told["better"]:
        assert served.with_suffix(".previous.pt").read_bytes() == before
        assert not any(line["scored"] for line in server.listed().values() if line["state"]["state"] == "none")


def test_weights_that_are_worse_are_not_served(server: Server, own: dict[str, np.ndarray]) -> None:
    overlay = server.bundle / "configs" / "finetune.yaml"
    as_it_was = overlay.read_text()
    overlay.write_text(as_it_was.replace("learning_rate: 0.0001", "learning_rate: 10.0"))
    served = server.bundle / "models" / "model.pt"
    before = served.read_bytes()
    server.client.train_start("segmentation", {"max_epochs": 1, "val_split": 0.34})
    server.wait_for("train")
    assert server.get("review/cases").json()["training"]["better"] is False
    assert served.read_bytes() == before
    overlay.write_text(as_it_was)


def test_a_server_killed_while_it_saves_loses_nothing(server: Server, own: dict[str, np.ndarray]) -> None:
    case = max(own)
    first = np.where(own[case] > 0, 2, 0)
    server.approve(case, first)
    review = server.studies / case / "review"
    before = {place.name: place.read_bytes() for place in review.iterdir() if place.is_file()}
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(server.approve, case, np.where(own[case] > 0, 1, 0))
        while not (unfinished := [place for place in review.iterdir() if place.is_dir()]):
            assert not sending.done(), "it was saved before it could be killed"
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        sending.exception()
    assert unfinished[0].is_dir()
    assert all((review / name).read_bytes() == content for name, content in before.items())
    server.start()
    np.testing.assert_array_equal(voxels(server.client.download_label(case, "final")), first)
