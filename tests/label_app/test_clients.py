# SPDX-License-Identifier: Apache-2.0
"""The requests of 3D Slicer's MONAI Label module and of its OHIF extension, in the order their sources make them.

`plugins/slicer/MONAILabel/MONAILabel.py` (by the client that MONAI Label ships, which is that module's own) and
`plugins/ohifv3/extensions/monai-label/src` (by plain requests, as its `MonaiLabelClient.js`) of MONAI Label 0.8.5.
Neither program itself is run.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest

from scripts.brats import TISSUE_VALUES
from scripts.data.phantoms import make_cohort
from tests.label_app.running_server import Server, needs_server, voxels

pytestmark = [needs_server, pytest.mark.label]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("clients")
    make_cohort(folder / "studies", cases=3, shape=(48, 48, 40))
    server = Server(folder)
    yield server
    server.stop()


def config_of(info: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    """Slicer's `getParamsFromConfig`: what the tables of the module hold when nobody has changed them."""
    config = info[section].get(name, {}).get("config", {})
    return {key: value[0] if isinstance(value, list) else value for key, value in config.items()}


def to_segments(path: str, names: list[str]) -> dict[str, np.ndarray]:
    """Slicer's import of a label map: the n-th name goes to the n-th value that it finds."""
    labels = itk.array_from_image(itk.imread(path))
    return dict(zip(names, (labels == value for value in np.unique(labels[labels > 0])), strict=True))


def test_slicers_module_from_the_next_sample_to_a_training(server: Server, tmp_path: Path) -> None:
    client = server.client
    client._client_id = "radiologist"
    assert not client.auth_enabled()
    info = client.info()
    model = next(name for name, told in info["models"].items() if told["type"] == "segmentation")
    strategy = next(iter(info["strategies"]))

    # Next Sample
    sample = client.next_sample(strategy, config_of(info, "strategies", strategy))
    case = sample["id"]
    assert (sample.get("path"), sample["name"]) == (None, f"{case}.nii.gz")
    image = tmp_path / sample["name"]
    image.write_bytes(server.get("datastore/image", params={"image": case}).content)
    scan: Any = nib.load(image)
    assert scan.shape == (48, 48, 40, 4)
    assert "original" not in client.datastore()["objects"][case]["labels"]  # 'Original label not found'

    # Auto Segmentation
    params = config_of(info, "models", model) | {"result_extension": ".nrrd", "result_dtype": "uint8"}
    result, told = client.infer(model, case, params)
    assert result.endswith(".nrrd")
    names = [name for name, _ in sorted(told["label_names"].items(), key=lambda pair: pair[1])]
    segments = to_segments(result, names)
    _, told = client.infer("confidence", case, dict(params))
    kept = client.datastore()["objects"][case]["labels"]["original"]["info"]["params"]["label_names"]
    assert list(kept) == names
    machine = client.download_label(case, "original")
    assert all((segments[name] == found).all() for name, found in to_segments(machine, names).items())

    # Submit Label: the module numbers the segments anew, in their order, and exports them on the image's grid
    values = {name: number for number, name in enumerate(segments, 1)}
    labels = sum(number * segments[name].astype(np.uint8).T for name, number in values.items())
    label_in = str(tmp_path / "label.nii.gz")
    nib.save(nib.Nifti1Image(labels, scan.affine), label_in)
    label_info = [{"name": name, "idx": number} for name, number in values.items()]
    assert client.save_label(case, label_in, params={"label_info": label_info}) == {"image": case, "label": case}
    draft = voxels(server.studies / case / "review" / f"{case}_v001.nii.gz")
    assert all((draft == TISSUE_VALUES[name]).T[segments[name]].all() for name in segments)
    assert server.details(case)["versions"][0]["client"] == "radiologist"
    assert client.info()["datastore"] == {
        "total": 3,
        "completed": 0,
        "label_tags": {"draft": 1, "original": 1, "uncertainty": 1},
    }

    # Train, its state, and Stop
    for other in sorted(server.listed()):
        server.approve(other, voxels(server.studies / other / f"{other}_seg.nii.gz"))
    training = config_of(info, "trainers", "segmentation")
    client.train_start("segmentation", training)
    wait_until(lambda: client.train_status(check_if_running=True))
    assert "details" in client.train_status()
    client.train_stop()
    wait_until(lambda: not client.train_status(check_if_running=True))
    assert server.get("train/").json()["status"] in ("STOPPED", "ERROR")


def wait_until(holds: Callable[[], bool]) -> None:
    """Waits for up to a minute: the server starts and stops a training after it has answered."""
    for _ in range(120):
        if holds():
            return
        time.sleep(0.5)
    raise TimeoutError


def test_a_volume_of_slicers_own_is_refused(server: Server, tmp_path: Path) -> None:
    from monailabel.client.client import MONAILabelClientException

    own = str(tmp_path / "own.nii.gz")
    nib.save(nib.Nifti1Image(np.ones((4, 4, 4), np.int16), np.eye(4)), own)
    before = set(server.listed())
    with pytest.raises(MONAILabelClientException) as caught:  # Upload Volume
        server.client.upload_image(own, "own")
    assert "501" in caught.value.msg
    assert "add and remove cases there" in caught.value.msg
    with pytest.raises(MONAILabelClientException) as caught:
        server.client.create_session(own)
    assert "404" in caught.value.msg
    assert set(server.listed()) == before


def test_a_case_without_core_keeps_the_names_of_its_segments_in_slicer(server: Server) -> None:
    from scripts.label_app.inference import names_in

    assert list(names_in(np.array([0, 2, 4]))) == ["oedema", "enhancing tumour"]


def test_ohifs_extension_is_answered_and_refused_in_words(server: Server) -> None:
    import requests

    info = server.get("info/").json()
    assert requests.post(f"{server.url}/activelearning/random", json={}, timeout=60).ok
    case = "phantom_000"
    params = {
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
        "result_compress": False,
        "restore_label_idx": False,
    }
    answer = requests.post(
        f"{server.url}/infer/segmentation",
        params={"image": case, "output": "image"},
        files={"params": (None, json.dumps(params))},
        timeout=300,
    )
    assert answer.ok
    assert answer.content.startswith(b"NRRD")
    header, _, raw = answer.content.partition(b"\n\n")
    assert b"encoding: raw" in header
    assert set(np.unique(np.frombuffer(raw, np.uint8))) <= {0, *info["models"]["segmentation"]["labels"].values()}
    running = server.get("train/", params={"check_if_running": "true"})
    assert running.status_code == 404 or running.json().get("status") != "RUNNING"

    sent = {"params": (None, "{}"), "label": ("label.bin", raw)}
    answer = requests.put(f"{server.url}/datastore/label", params={"image": case}, files=sent, timeout=60)
    assert (answer.status_code, "cannot be read" in answer.json()["detail"]) == (422, True)
    # a viewer is a page of its own: without a proxy that serves both under one name, it may ask nothing
    assert server.get("info/", headers={"Origin": "http://localhost:3000"}).status_code == 403
