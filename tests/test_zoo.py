# SPDX-License-Identifier: Apache-2.0

"""What a user of the Model Zoo does with the archive, by MONAI's own commands."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from pathlib import Path
from typing import Any

import monai.bundle
import nbformat
import pytest
import torch
from monai.networks.nets import BasicUNet
from monai.utils import optional_import
from nbclient import NotebookClient

from scripts.data.phantoms import make_cohort
from scripts.tools.release import BUNDLE, NAME
from tests.commands import run
from tests.inference.test_exported import TRACING
from tests.test_workflows import SMALL, voxels
from tests.tools.test_release import SCHEMA

VERSION = json.loads((BUNDLE / "metadata.json").read_text())["version"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hosted")
    run("scripts.tools.release", "--output_dir", str(folder)).check_returncode()
    return folder / f"{NAME}_v{VERSION}.zip"


@pytest.fixture(scope="module")
def bundle(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle as it was downloaded, into a folder with a space in its name."""
    folder = tmp_path_factory.mktemp("a zoo of models")
    options = ("--name", NAME, "--version", VERSION, "--bundle_dir", str(folder), "--url", archive.as_uri())
    command("download", *options, folder=folder)
    return folder / NAME


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make_cohort(tmp_path_factory.mktemp("data") / "phantoms", cases=5, shape=(48, 48, 40)))


def command(name: str, *options: str, folder: Path, fails: bool = False) -> str:
    """Runs one of MONAI's commands with the bundle's scripts at hand, and gives what it printed."""
    result = run("monai.bundle", name, *options, cwd=folder)
    assert (result.returncode != 0) == fails, result.stderr
    return result.stdout + result.stderr


def configs(*names: str) -> tuple[str, ...]:
    files = ",".join(f"'configs/{name}.yaml'" for name in names)
    return ("--config_file", f"[{files}]", "--meta_file", "configs/metadata.json")


def test_it_is_downloaded_over_http(archive: Path, tmp_path: Path) -> None:
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(archive.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/{archive.name}"
        command("download", "--name", NAME, "--bundle_dir", str(tmp_path), "--url", url, folder=tmp_path)
        server.shutdown()
    assert (tmp_path / NAME / "models" / "model.pt").read_bytes() == (BUNDLE / "models" / "model.pt").read_bytes()


def test_its_weights_are_loaded(bundle: Path) -> None:
    network = BasicUNet(
        spatial_dims=3,
        in_channels=4,
        out_channels=3,
        features=(16, 32, 64, 128, 128, 16),
        norm=("group", {"num_groups": 8}),
        upsample="nontrainable",
    )
    monai.bundle.load(NAME, bundle_dir=str(bundle.parent), model=network)
    expected = torch.load(BUNDLE / "models" / "model.pt", weights_only=True)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in network.state_dict().items())


def test_training_evaluating_and_inferring_run(bundle: Path, phantoms: Path, tmp_path: Path) -> None:
    small = [word for name, value in SMALL.items() for word in (f"--{name}", str(value))]
    places = ["--dataset_dir", str(phantoms), "--cache_dir", str(tmp_path / "cache"), "--output_dir"]
    weights = ["--ckpt_dir", str(tmp_path / "weights"), "--epochs", "1", "--val_interval", "1"]
    in_bundle = functools.partial(command, folder=bundle)
    in_bundle("run", "training", *configs("train"), *places, str(tmp_path / "train"), *weights, *small)
    assert (tmp_path / "weights" / "model.pt").exists()
    in_bundle("run", "evaluating", *configs("inference", "evaluate"), *places, str(tmp_path / "evaluate"))
    assert (tmp_path / "evaluate" / "report.html").exists()
    in_bundle("run", "inferring", *configs("inference"), *places, str(tmp_path / "infer"))
    in_bundle("run_workflow", *configs("inference"), *places, str(tmp_path / "workflow"))
    first, second = (sorted((tmp_path / name).glob("*_seg.nii.gz")) for name in ("infer", "workflow"))
    assert len(first) == 5
    assert all((voxels(one) == voxels(other)).all() for one, other in zip(first, second, strict=True))


def test_metadata_and_network_are_verified(bundle: Path) -> None:
    pytest.importorskip("jsonschema")
    schema = ("--meta_file", "configs/metadata.json", "--filepath", str(SCHEMA))
    assert "metadata is verified" in command("verify_metadata", *schema, folder=bundle)
    printed = command("verify_net_in_out", "--net_id", "network_def", *configs("inference"), folder=bundle)
    assert "verified with no error" in printed


def test_it_is_exported_or_says_why_not(bundle: Path, tmp_path: Path) -> None:
    options = ["--net_id", "network_def", "--ckpt_file", "models/model.pt", *configs("inference"), "--filepath"]
    command("ckpt_export", *options, str(tmp_path / "model.ts"), folder=bundle)
    loaded: Any = monai.bundle.load(
        NAME, bundle_dir=str(bundle.parent), model_file=str(tmp_path / "model.ts"), load_ts_module=True
    )
    assert loaded[1]["version"] == VERSION
    if optional_import("onnx")[1]:
        tracing = ("--use_trace", "true", "--converter_kwargs", TRACING)
        command("onnx_export", *options, str(tmp_path / "model.onnx"), *tracing, folder=bundle)
        assert (tmp_path / "model.onnx").stat().st_size > 10_000_000
    if not torch.cuda.is_available():
        printed = command(
            "trt_export", *options, str(tmp_path / "trt.ts"), "--precision", "fp32", folder=bundle, fails=True
        )
        assert "Cannot find any GPU devices" in printed


@pytest.fixture
def importable(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a program in another folder does it: the bundle's scripts are found by sys.path."""
    monkeypatch.syspath_prepend(str(bundle))


@pytest.mark.usefixtures("importable")
@pytest.mark.parametrize("workflow_type", ["train", "inference"])
def test_no_property_is_missing(workflow_type: str, bundle: Path, phantoms: Path) -> None:
    workflow = monai.bundle.create_workflow(
        config_file=str(bundle / "configs" / f"{workflow_type}.yaml"),
        workflow_type=workflow_type,
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(phantoms),
    )
    assert workflow.check_properties() == []


def test_the_notebook_runs(bundle: Path) -> None:
    folder = bundle / "docs"
    notebook = nbformat.read(folder / "usage.ipynb", as_version=4)
    executed = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    texts = [output.get("text", "") for cell in executed.cells for output in cell.get("outputs", [])]
    assert any("Sensitivity" in text for text in texts)  # of evaluating
    assert any("weights: models/model.pt" in text for text in texts)  # of training
