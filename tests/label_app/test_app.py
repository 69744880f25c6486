# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.utils import optional_import
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.base.errors import BundleError
from scripts.brats import TISSUE_VALUES, Item
from scripts.data.discovery import find_cases
from scripts.data.phantoms import make_cohort
from scripts.label_app.confidence import overlay, review_metrics, score
from scripts.label_app.volumes import to_labels, to_view
from tests.data.test_checks import make_case, make_label, save, save_dicom
from tests.outputs import label_dice
from tests.test_workflows import BUNDLE, REAL_CASES, run_bundle

_, installed = optional_import("monailabel")


def voxels(path: str | Path) -> np.ndarray:
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj)


@pytest.fixture
def item(tmp_path: Path) -> Item:
    make_case(tmp_path / "studies")
    return find_cases(str(tmp_path / "studies"), labels="ignored")[0]


# ---- views and labels


def test_a_view_is_the_modalitys_own_file_or_all_four_in_one(item: Item, tmp_path: Path) -> None:
    assert str(to_view(item, "t2", cache_dir=tmp_path / "cache")) == item["image"][2]
    four = to_view(item, "4d", cache_dir=tmp_path / "cache")
    expected = np.stack([voxels(path) for path in item["image"]], axis=-1)
    np.testing.assert_array_equal(voxels(four), expected)
    assert voxels(four).dtype == np.int16
    np.testing.assert_allclose(nib.Nifti1Image.from_filename(four).affine, np.eye(4))


def test_a_made_view_is_kept_until_a_scan_changes(item: Item, tmp_path: Path) -> None:
    first = to_view(item, "4d", cache_dir=tmp_path)
    made = first.stat().st_mtime_ns
    assert to_view(item, "4d", cache_dir=tmp_path).stat().st_mtime_ns == made
    save(Path(item["image"][0]), voxels(item["image"][0]) // 2)
    again = to_view(item, "4d", cache_dir=tmp_path)
    np.testing.assert_array_equal(voxels(again)[..., 0], voxels(item["image"][0]))
    assert again != first
    assert not first.exists()


def test_one_modality_of_dicom_is_converted(tmp_path: Path) -> None:
    scans = [np.full((4, 5, 6), value, np.int16) for value in (1, 2, 3, 4)]
    folders = [save_dicom(tmp_path / "case" / name, scan, i) for i, (name, scan) in enumerate(zip("abcd", scans))]
    case: Item = {"case": "case", "patient": "case", "layout": "brats2021", "image": folders}
    view = to_view(case, "t1ce", cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(voxels(view), scans[1])


def test_an_unknown_view_is_refused(item: Item, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="view ct: unknown; allowed are t1, t1ce, t2, flair, 4d"):
        to_view(item, "ct", cache_dir=tmp_path)


def test_slicers_numbering_becomes_that_of_brats(item: Item, tmp_path: Path) -> None:
    path = save(tmp_path / "label.nii.gz", make_label((1, 2, 3)))
    numbers = {1: "oedema", 2: "enhancing tumour", 3: "necrotic or non-enhancing core"}
    labels, _ = to_labels(path, Path(item["image"][0]), numbers=numbers)
    np.testing.assert_array_equal(labels, make_label((2, 4, 1)))
    own = save(tmp_path / "own.nii.gz", make_label())
    np.testing.assert_array_equal(to_labels(own, Path(item["image"][0]))[0], make_label())


@pytest.mark.parametrize(
    ("label", "affine", "numbers", "message"),
    [
        (
            make_label((1, 3)),
            None,
            None,
            "has 3 .None.; allowed are 1 necrotic or .*, 2 oedema, 4 enhancing tumour",
        ),
        (make_label((1, 2)), None, {1: "oedema", 2: "cyst"}, "has 2 .cyst."),
        (np.zeros((8, 8, 8), np.uint8), None, None, "grid of .* that is not that of"),
        (make_label(), np.diag([1.0, 1.0, 3.0, 1.0]), None, "grid of .* that is not that of"),
    ],
)
def test_a_label_that_does_not_fit_is_refused(
    label: np.ndarray,
    affine: np.ndarray | None,
    numbers: dict[int, str] | None,
    message: str,
    item: Item,
    tmp_path: Path,
) -> None:
    with pytest.raises(BundleError, match=message):
        to_labels(save(tmp_path / "label.nii.gz", label, affine), Path(item["image"][0]), numbers=numbers)
    (tmp_path / "damaged.nii.gz").write_bytes(b"no NIfTI")
    with pytest.raises(BundleError, match="cannot be read"):
        to_labels(str(tmp_path / "damaged.nii.gz"), Path(item["image"][0]))


# ---- what the critic says


def test_metrics_of_a_cube_by_hand() -> None:
    labels = np.zeros((40, 40, 40), np.uint8)
    labels[10:14, 10:14, 10:14] = 2
    labels[11:13, 11:13, 11:13] = 1
    confidence = np.full((3, 40, 40, 40), 0.75)
    confidence[1, :, :, 12] = 0.25
    confidence[1, :, :, 35] = 0.0  # beyond 10 mm of the tumour
    metrics = review_metrics(labels, np.full((3, 40, 40, 40), 0.5), confidence, spacing=(1.0, 1.0, 2.0))
    assert metrics["volumes_ml"] == pytest.approx(
        dict(zip((*TISSUE_VALUES, "TC", "WT", "ET"), (0.016, 0.112, 0, 0.016, 0.128, 0)))
    )
    assert metrics["slice"] == {"axis": 2, "index": 12}
    assert metrics["mean_confidence"]["TC"] == pytest.approx(0.75)
    assert 0.6 < metrics["mean_confidence"]["WT"] < 0.75
    assert metrics["mean_entropy"]["WT"] == pytest.approx(np.log(2))
    assert metrics["mean_confidence"]["ET"] is None
    assert score(metrics) == pytest.approx((0.75 + metrics["mean_confidence"]["WT"]) / 2)
    assert overlay(confidence)[20, 20].tolist() == [75] * 12 + [25] + [75] * 22 + [0] + [75] * 4


def test_of_nothing_there_is_no_metric() -> None:
    metrics = review_metrics(np.zeros((4, 4, 4)), np.zeros((3, 4, 4, 4)), np.ones((3, 4, 4, 4)), spacing=(1, 1, 1))
    assert metrics["slice"] is None
    assert score(metrics) is None


# ---- the datastore


@pytest.fixture
def datastore(tmp_path: Path) -> Any:
    if not installed:
        pytest.skip("MONAI Label is not installed: requirements-label.txt")
    from scripts.label_app.datastore import CaseDatastore

    for case in ("BraTS2021_00001", "BraTS2021_00002", "BraTS2021_00003"):
        make_case(tmp_path / "studies", case)
    (tmp_path / "studies" / "BraTS2021_00003" / "BraTS2021_00003_t2.nii.gz").unlink()
    return CaseDatastore(str(tmp_path / "studies"))


def refused(call: Any, *arguments: Any) -> tuple[int, str]:
    from fastapi import HTTPException

    with pytest.raises(HTTPException) as caught:
        call(*arguments)
    return caught.value.status_code, caught.value.detail


def test_each_whole_case_is_one_image(datastore: Any) -> None:
    assert datastore.list_images() == ["BraTS2021_00001", "BraTS2021_00002"]
    assert voxels(datastore.get_image_uri("BraTS2021_00001")).shape == (16, 16, 16, 4)
    assert datastore.get_image_uri("BraTS2021_00001@flair").endswith("BraTS2021_00001_flair.nii.gz")
    assert set(datastore.json()["objects"]) == {"BraTS2021_00001", "BraTS2021_00002"}
    assert datastore.status() == {"total": 2, "completed": 0, "label_tags": {}}


def test_a_case_that_comes_later_is_found(datastore: Any) -> None:
    make_case(datastore.studies, "BraTS2021_00004")
    assert datastore.item("BraTS2021_00004")["case"] == "BraTS2021_00004"


def test_unknown_broken_and_climbing_names_are_refused(datastore: Any) -> None:
    assert refused(datastore.item, "nobody")[0] == 404
    assert refused(datastore.get_image_uri, "../../etc/passwd")[0] == 404
    status, detail = refused(datastore.item, "BraTS2021_00003")
    assert (status, "has no t2 file" in detail) == (422, True)
    assert refused(datastore.get_label_uri, "BraTS2021_00001", "../../x")[0] == 422
    for refuse in (datastore.remove_image, datastore.set_name):
        assert refused(refuse, "BraTS2021_00001")[0] == 501


def test_labels_have_versions_beside_the_untouched_segmentation(datastore: Any, tmp_path: Path) -> None:
    case = "BraTS2021_00001"
    own = datastore.studies / case / f"{case}_seg.nii.gz"
    before = own.read_bytes()
    for values in ((1, 2, 4), (2, 2, 2)):
        path = save(tmp_path / "sent.nii.gz", make_label(values))
        datastore.save_label(case, path, "final", {"client_id": "me"})
    assert Path(datastore.get_label_uri(case, "final")) == own.parent / "review" / f"{case}_final_v002.nii.gz"
    np.testing.assert_array_equal(voxels(datastore.get_label_uri(case, "final")), make_label((2, 2, 2)))
    np.testing.assert_array_equal(voxels(datastore.get_label_uri(case, "final.v1")), make_label())
    assert datastore.get_label_info(case, "final")["client_id"] == "me"
    assert (datastore.get_labeled_images(), datastore.get_unlabeled_images()) == ([case], ["BraTS2021_00002"])
    assert datastore.datalist()[0]["label"] == datastore.get_label_uri(case, "final")
    assert own.read_bytes() == before
    datastore.refresh()
    assert datastore.list_images() == [case, "BraTS2021_00002"]  # labels are no cases
    datastore.remove_label(case, "final")
    assert datastore.get_label_uri(case, "final") == ""
    assert len(list((own.parent / "review").glob("*.removed"))) == 2


def test_a_label_cut_off_in_its_saving_leaves_the_last_one(
    datastore: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = "BraTS2021_00001"
    datastore.save_label(case, save(tmp_path / "sent.nii.gz", make_label()), "final", {})

    def cut_off(image: Any, place: Path) -> None:
        Path(place).write_bytes(b"half")
        raise KeyboardInterrupt

    second = save(tmp_path / "second.nii.gz", make_label((2, 2, 2)))
    monkeypatch.setattr("scripts.label_app.volumes.nib.save", cut_off)
    with pytest.raises(KeyboardInterrupt):
        datastore.save_label(case, second, "final", {})
    np.testing.assert_array_equal(voxels(datastore.get_label_uri(case, "final")), make_label())


def test_what_is_known_of_a_case_outlives_the_server(datastore: Any) -> None:
    from scripts.label_app.datastore import CaseDatastore

    datastore.update_image_info("BraTS2021_00001", {"confidence": 0.5})
    datastore.update_image_info("BraTS2021_00001", {"entropy": 0.1})
    info = CaseDatastore(str(datastore.studies)).get_image_info("BraTS2021_00001")
    assert info == {"name": "BraTS2021_00001.nii.gz", "confidence": 0.5, "entropy": 0.1}


@pytest.mark.parametrize(("most", "expected"), [(False, ["two", "one"]), (True, ["one", "two"])])
def test_strategies_follow_the_score(most: bool, expected: list[str], tmp_path: Path) -> None:
    if not installed:
        pytest.skip("MONAI Label is not installed: requirements-label.txt")
    from scripts.label_app.datastore import CaseDatastore
    from scripts.label_app.scoring import ByConfidence

    for case in ("one", "two", "unscored", "faulty"):
        make_case(tmp_path / "studies", case)
    store = CaseDatastore(str(tmp_path / "studies"))
    found: list[str] = []
    known: dict[str, dict[str, Any]] = {
        "one": {"confidence": 0.9},
        "two": {"confidence": 0.2},
        "faulty": {"fault": "x"},
    }
    for case, info in known.items():
        store.update_image_info(case, info)
    label = save(tmp_path / "label.nii.gz", make_label())
    while picked := ByConfidence(most=most)({}, store):
        found.append(picked["id"])
        store.save_label(picked["id"], label, "final", {})
    assert found == [*expected, "unscored"]


# ---- the server


class Server:
    """A real server on a free port of this machine, on copies of the bundle and of some cases."""

    def __init__(self, folder: Path) -> None:
        from monailabel.client.client import MONAILabelClient

        self.folder, self.studies, self.bundle = folder, folder / "studies", folder / "bundle"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for name in ("configs", "scripts", "models"):
            shutil.copytree(BUNDLE / name, self.bundle / name)
        (folder / "client").mkdir(exist_ok=True)
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = MONAILabelClient(self.url, tmpdir=str(folder / "client"))
        self.start()

    def start(self) -> None:
        app = BUNDLE / "scripts" / "label_app"
        options = {"app": app, "studies": self.studies, "host": "127.0.0.1", "port": self.port}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        command = [
            sys.executable,
            "-m",
            "monailabel.main",
            "start_server",
            *words,
            "--conf",
            "bundle",
            str(self.bundle),
        ]
        settings = {"PYTHONPATH": str(app), "OMP_NUM_THREADS": "1", "MONAI_LABEL_AUTO_UPDATE_SCORING": "false"}
        with (self.folder / "server.log").open("a") as log:
            self.process = subprocess.Popen(command, env=os.environ | settings, stdout=log, stderr=log)
        for _ in range(240):
            try:
                self.client.info()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
                time.sleep(0.5)
        raise AssertionError("the server does not answer")

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def infer(self, model: str, image: str, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        file, params = self.client.infer(model, image, {}, **options)
        return voxels(file), params

    def message(self, model: str, image: str) -> str:
        from monailabel.client.client import MONAILabelClientException

        with pytest.raises(MONAILabelClientException) as caught:
            self.client.infer(model, image, {})
        return caught.value.msg

    def wait_for(self, method: str) -> dict[str, Any]:
        import requests

        for _ in range(500):
            task = requests.get(f"{self.url}/{method}/", timeout=30).json()
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                assert task["status"] == "DONE", "\n".join(task["details"])
                return task
            time.sleep(0.5)
        raise AssertionError(f"{method} does not end")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not installed:
        pytest.skip("MONAI Label is not installed: requirements-label.txt")
    folder = tmp_path_factory.mktemp("label")
    make_cohort(folder / "studies", cases=4, shape=(48, 48, 40))
    if REAL_CASES.is_dir():
        real = sorted(REAL_CASES.iterdir())[0]
        (folder / "studies" / real.name).mkdir()
        for file in real.iterdir():
            (folder / "studies" / real.name / file.name).symlink_to(file)
    broken = folder / "studies" / "broken"
    broken.mkdir()
    for name in ("t1", "t1ce", "flair"):
        save(broken / f"broken_{name}.nii.gz", np.ones((8, 8, 8), np.int16))
    server = Server(folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def own(server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The bundle's own label maps of the server's whole cases."""
    folder = tmp_path_factory.mktemp("own")
    run_bundle("inferring", "configs/inference.yaml", dataset_dir=server.studies, output_dir=folder, cache_dir=folder)
    return {path.name.removesuffix("_seg.nii.gz"): voxels(path) for path in folder.glob("*_seg.nii.gz")}


@pytest.mark.label
def test_the_server_tells_what_it_offers(server: Server, own: dict[str, np.ndarray]) -> None:
    info = server.client.info()
    assert info["models"]["segmentation"]["labels"] == TISSUE_VALUES
    assert set(info["strategies"]) == {"least_confident", "most_confident", "random"}
    assert info["datastore"]["total"] == len(own) == len(server.client.datastore()["objects"])
    assert server.client.next_sample("random", {})["id"] in own


@pytest.mark.label
def test_every_case_is_segmented_as_the_bundle_does_in_both_forms(server: Server, own: dict[str, np.ndarray]) -> None:
    import requests

    for case, expected in own.items():
        labels, params = server.infer("segmentation", case)
        assert labels.shape == expected.shape
        assert set(np.unique(labels)) <= {0, 1, 2, 4}
        assert label_dice(labels, expected) >= 0.999
        assert set(params["label_colours"]) == set(params["label_names"])
    four = requests.get(f"{server.url}/datastore/image", params={"image": case}, timeout=60).content
    (server.folder / "four.nii.gz").write_bytes(four)
    labels, _ = server.infer("segmentation", "", file=str(server.folder / "four.nii.gz"))
    assert label_dice(labels, expected) >= 0.999


@pytest.mark.label
def test_two_requests_at_once_are_both_served(server: Server, own: dict[str, np.ndarray]) -> None:
    cases = sorted(own)[-2:]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(lambda case: server.infer("segmentation", case)[0], cases)
    assert all(label_dice(labels, own[case]) >= 0.999 for case, labels in zip(cases, found))


@pytest.mark.label
def test_the_critic_says_where_to_look(server: Server, own: dict[str, np.ndarray]) -> None:
    case = min(own)
    labels, params = server.infer("confidence", case)
    assert label_dice(labels, own[case]) >= 0.999
    assert set(params["mean_confidence"]) == {"TC", "WT", "ET"}
    assert 0 <= params["slice"]["index"] < labels.shape[2]
    assert params["note"] == "Not for diagnosis."
    confidence = voxels(server.client.download_label(case, params["overlay_tag"]))
    assert confidence.shape == labels.shape
    assert 0 < confidence.max() <= 100


@pytest.mark.label
def test_mistakes_are_answered_in_words(server: Server) -> None:
    assert "404" in server.message("segmentation", "nobody")
    assert "no case" in server.message("segmentation", "../../../etc/hostname")
    assert "no case" in server.message("segmentation", str(server.studies / "broken"))
    assert "has no t2 file" in server.message("segmentation", "broken")
    assert "no model 'other'" in server.message("other", "phantom_000")


@pytest.mark.label
def test_the_next_sample_follows_the_score_and_the_review(server: Server, own: dict[str, np.ndarray]) -> None:
    import requests

    requests.post(f"{server.url}/scoring/critic", timeout=60).raise_for_status()
    server.wait_for("scoring")
    objects = server.client.datastore()["objects"]
    scores = {case: known["image"]["info"]["confidence"] for case, known in objects.items()}
    ranked = sorted(own, key=lambda case: scores[case])
    assert server.client.next_sample("least_confident", {})["id"] == ranked[0]
    assert server.client.next_sample("most_confident", {})["id"] == ranked[-1]
    labels = server.client.infer("segmentation", ranked[0], {})[0]
    server.client.save_label(ranked[0], labels, "final", {})
    np.testing.assert_array_equal(voxels(server.client.download_label(ranked[0], "final")), own[ranked[0]])
    assert server.client.next_sample("least_confident", {})["id"] == ranked[1]


@pytest.mark.label
def test_fine_tuning_changes_what_is_served_only_when_it_is_better(server: Server, own: dict[str, np.ndarray]) -> None:
    phantoms = [case for case in sorted(own) if case.startswith("phantom")]
    for case in phantoms[:3]:
        truth = next((server.studies / case).glob("*seg.nii.gz"))
        server.client.save_label(case, str(truth), "final", {})
    served = server.bundle / "models" / "model.pt"
    before = served.read_bytes()
    server.client.train_start("segmentation", {"max_epochs": 1, "val_split": 0.34})
    verdict = next(line for line in server.wait_for("train")["details"] if "mean Dice" in line)
    assert (served.read_bytes() == before) == ("not served" in verdict)
    events = EventAccumulator(str(server.bundle / "output" / "finetune" / "tensorboard"))
    events.Reload()
    assert events.Scalars("train/unlabelled_vat_loss")  # of the cases that nobody has reviewed
    if "not served" not in verdict:
        assert served.with_suffix(".previous.pt").read_bytes() == before
    labels, _ = server.infer("segmentation", phantoms[0])
    assert set(np.unique(labels)) <= {0, 1, 2, 4}


@pytest.mark.label
def test_weights_that_are_worse_are_not_served(server: Server, own: dict[str, np.ndarray]) -> None:
    overlay = server.bundle / "configs" / "finetune.yaml"
    as_it_was = overlay.read_text()
    overlay.write_text(as_it_was.replace("learning_rate: 0.0001", "learning_rate: 10.0"))
    served = server.bundle / "models" / "model.pt"
    before = served.read_bytes()
    server.client.train_start("segmentation", {"max_epochs": 1, "val_split": 0.34})
    assert any("not served" in line for line in server.wait_for("train")["details"])
    assert served.read_bytes() == before
    overlay.write_text(as_it_was)


@pytest.mark.label
def test_a_server_killed_while_it_saves_loses_nothing(server: Server, own: dict[str, np.ndarray]) -> None:
    case = max(own)
    first = server.client.infer("segmentation", case, {})[0]
    server.client.save_label(case, first, "final", {})
    review = server.studies / case / "review"
    before = {place.name: place.read_bytes() for place in review.iterdir() if place.is_file()}
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(server.client.save_label, case, first, "final", {})
        while not (unfinished := [place for place in review.iterdir() if place.is_dir()]):
            assert not sending.done(), "it was saved before it could be killed"
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        sending.exception()
    assert unfinished[0].is_dir()
    assert all((review / name).read_bytes() == content for name, content in before.items())
    server.start()
    np.testing.assert_array_equal(voxels(server.client.download_label(case, "final")), voxels(first))
