# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from scripts.base.weights import load_weights
from scripts.data.phantoms import make_cohort
from tests.commands import run

pytest.importorskip("nvflare", reason="NVIDIA FLARE is not installed (requirements-federated.txt)")

BUNDLE = Path(__file__).parents[2]
SETTINGS = {
    "features": 8,
    "critic_features": 4,
    "spacing": 5.0,
    "patch_size": 16,
    "rounds": 2,
    "local_epochs": 1,
    "vat_start": 0,
    "critic_start": 0,
}


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sites")
    return [Path(make_cohort(folder / f"{n} cases", cases=n, shape=(32, 32, 32), seed=n)) for n in (6, 8)]


def simulate(cohorts: list[Path], folder: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    words = ["--settings", json.dumps(SETTINGS | settings), "--output_dir", str(folder)]
    return run("scripts.federated", "--sites", *map(str, cohorts), *words, timeout=580)


@pytest.mark.parametrize("local_critic", [False, True])
def test_two_rounds_of_two_sites_give_networks_for_the_bundle(
    cohorts: list[Path], tmp_path: Path, local_critic: bool
) -> None:
    result = simulate(cohorts, tmp_path / "out", local_critic=local_critic)
    assert result.returncode == 0, result.stdout + result.stderr
    rounds = re.findall(r"after (\d) rounds +site-1 (\d\.\d{3}) +site-2 (\d\.\d{3})", result.stdout)
    assert [int(number) for number, *_ in rounds] == [0, 1, 2]
    assert "Not for diagnosis" in result.stdout
    config = ConfigParser()
    config.read_config(BUNDLE / "configs" / "train.yaml")
    config.update(SETTINGS)
    initial = torch.load(tmp_path / "out" / "initial.pt", weights_only=True)
    for kind, name in (("segmenter", "network"), ("critic", "critic")):
        path = tmp_path / "out" / ("model.pt" if kind == "segmenter" else "critic.pt")
        if kind == "critic" and local_critic:
            assert not path.exists()
            assert not any(key.startswith("critic.") for key in initial)
            continue
        network = load_weights(config.get_parsed_content(name), str(path))
        for key, weight in network.named_parameters():
            assert not torch.equal(weight, initial[f"{kind}.{key}"])
    for site in ("site-1", "site-2"):
        assert (tmp_path / "out" / site / "models" / "critic.pt").is_file()


def test_a_site_with_a_broken_case_ends_the_federation_with_its_message(cohorts: list[Path], tmp_path: Path) -> None:
    shutil.copytree(cohorts[1], tmp_path / "cases")
    broken = tmp_path / "cases" / "phantom_001" / "phantom_001_t2.nii.gz"
    broken.write_bytes(broken.read_bytes()[:1000])
    result = simulate([cohorts[0], tmp_path / "cases"], tmp_path / "out")
    assert result.returncode == 1
    message = result.stderr[result.stderr.index("error: site-2") :]
    assert broken.name in message
    assert "Traceback" not in message
    assert not (tmp_path / "out" / "model.pt").exists()
