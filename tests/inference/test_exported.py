# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.utils import optional_import

from scripts.base.errors import BundleError
from scripts.data.phantoms import make_cohort
from scripts.inference.exported import OnnxNetwork, load_exported
from tests.commands import run
from tests.outputs import label_dice
from tests.test_workflows import INFERENCE, REAL_CASES, run_bundle, voxels

DYNAMIC = "{0: 'batch', 2: 'height', 3: 'width', 4: 'depth'}"
TRACING = "{'input_names': ['image'], 'output_names': ['pred'], 'dynamo': False, "
TRACING += f"'dynamic_axes': {{'image': {DYNAMIC}, 'pred': {DYNAMIC}}}}}"
onnx_installed = optional_import("onnx")[1] and optional_import("onnxruntime")[1]


def export(command: str, path: Path, *options: str) -> Path:
    """Exports the shipped weights by MONAI's command."""
    words = ["monai.bundle", command, "--net_id", "network_def", "--filepath", str(path)]
    words += ["--ckpt_file", "models/model.pt", "--meta_file", "configs/metadata.json", "--config_file", INFERENCE]
    result = run(*words, *options)
    assert result.returncode == 0, result.stderr
    return path


@pytest.fixture(scope="module")
def torchscript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export("ckpt_export", tmp_path_factory.mktemp("export") / "model.ts")


@pytest.fixture(scope="module")
def onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not onnx_installed:
        pytest.skip("ONNX is not installed: requirements-export.txt")
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    return export("onnx_export", path, "--use_trace", "true", "--converter_kwargs", TRACING)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make_cohort(tmp_path_factory.mktemp("data"), cases=1, shape=(160, 176, 144)))


def segment(phantoms: Path, folder: Path, **settings: object) -> np.ndarray:
    places = {"dataset_dir": phantoms, "output_dir": folder, "cache_dir": folder}
    result = run_bundle("inferring", INFERENCE, **places, max_whole_brain_voxels=0, **settings)
    assert result.returncode == 0, result.stderr
    return voxels(next(folder.glob("*_seg.nii.gz")))


@pytest.fixture(scope="module")
def own(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    labels = segment(phantoms, tmp_path_factory.mktemp("own"))
    assert (labels > 0).sum() > 100
    return labels


def test_torchscript_segments_as_the_network_does(
    torchscript: Path, phantoms: Path, own: np.ndarray, tmp_path: Path
) -> None:
    assert label_dice(segment(phantoms, tmp_path, exported=torchscript), own) >= 0.999


def test_onnx_segments_as_the_network_does(onnx: Path, phantoms: Path, own: np.ndarray, tmp_path: Path) -> None:
    assert label_dice(segment(phantoms, tmp_path, exported=onnx), own) >= 0.999


@pytest.mark.skipif(not REAL_CASES.is_dir(), reason=f"no real cases in {REAL_CASES}")
def test_exports_segment_a_patient_as_the_network_does(torchscript: Path, onnx: Path, tmp_path: Path) -> None:
    patient = tmp_path / "scans" / "BraTS2021_00006"
    patient.parent.mkdir()
    patient.symlink_to(REAL_CASES / patient.name)
    expected = segment(patient.parent, tmp_path / "own")
    for exported in (torchscript, onnx):
        labels = segment(patient.parent, tmp_path / exported.suffix, exported=exported)
        assert all(label_dice(labels == value, expected == value) >= 0.999 for value in (1, 2, 4))


def test_onnx_takes_images_of_any_multiple_of_16(onnx: Path, torchscript: Path) -> None:
    image = torch.rand(2, 4, 32, 48, 16)
    network = load_exported(str(torchscript), torch.device("cpu"))
    with torch.no_grad():
        exact, found = network(image), OnnxNetwork(str(onnx))(image)
        bound = 18 * 256 * 27 * torch.finfo(torch.float32).eps / 2 * exact.abs().max().item()
        # float32 sums of at most 256 * 27 terms, in 18 convolutions one after another
        torch.testing.assert_close(found, exact, rtol=0, atol=bound)
    with pytest.raises(BundleError, match="--max_whole_brain_voxels 0"):
        OnnxNetwork(str(onnx))(torch.rand(1, 4, 32, 40, 16))


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file"):
        load_exported(str(tmp_path / "model.ts"), torch.device("cpu"))
    (tmp_path / "model.ts").write_bytes(b"no export")
    with pytest.raises(BundleError, match="TorchScript"):
        load_exported(str(tmp_path / "model.ts"), torch.device("cpu"))
