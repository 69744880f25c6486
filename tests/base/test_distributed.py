# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.utils import set_determinism

from scripts.base.distributed import all_processes_agree, cases_of_process, gather_from_processes, join_processes
from scripts.base.errors import BundleError
from scripts.data.phantoms import make_cohort
from scripts.method.vat import VirtualAdversarialHandler
from tests.builders import make_batch, make_segmenter, make_supervised_trainer, snapshot
from tests.commands import Command
from tests.tolerances import EXACT
from tests.two_processes import train_alone

BUNDLE = Path(__file__).parents[2]
EVALUATE = ("inference", "evaluate")
SMALL: dict[str, Any] = {"features": 16, "critic_features": 4, "spacing": 5.0, "patch_size": 16}
# 6 phantoms to train with and 3 held out; 6 steps of two
COHORT: dict[str, Any] = {"cases": 9, "shape": (32, 32, 32)}
TRAINING: dict[str, Any] = {
    "held_out_fraction": 0.34,
    "epochs": 2,
    "val_interval": 2,
    "learning_rate": 0.0002,
    "learning_rate_decay": 0,
    "vat_start": 0,
    "critic_start": 1,
    "critic_ramp": 2,
    "lambda_critic": 0.3,
}
# what makes runs comparable: nothing at random; float64; a texture in place of the constant background, where
# max-pooling would meet ties that the last bit decides; and no Adam, which divides by the size of a gradient and so
# makes whole steps of rounding errors
IN_FLOAT64 = {"_target_": "CastToTyped", "keys": ["image", "label"], "dtype": "$torch.float64"}
ALIKE: dict[str, Any] = {
    "train#patch_transforms": [
        {"_target_": "ResizeWithPadOrCropd", "keys": ["image", "label"], "spatial_size": "@patch"},
    ],
    "train#random_transforms": [{"_target_": "tests.builders.AddTexture", "keys": "image"}, IN_FLOAT64],
    "validate#preprocessing": {
        "_target_": "Compose",
        "transforms": "$@train#deterministic_transforms + [monai.transforms.CastToTyped('image', torch.float64)]",
    },
    "spoilt_masks": None,  # which each process draws for itself
    "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 0.005},
    "critic_optimizer": {"_target_": "torch.optim.SGD", "params": "$@critic.parameters()", "lr": 0.005},
}


def run_two(*words: str) -> subprocess.CompletedProcess[str]:
    """Runs `python -m WORDS` in two processes with the environment that torchrun gives them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "tests"}
    commands = [
        Command(*words, env=shared | {"RANK": rank, "LOCAL_RANK": rank, "CUDA_VISIBLE_DEVICES": ""}) for rank in "01"
    ]
    first, second = (command.wait() for command in commands)
    printed = first.stdout + second.stdout, first.stderr + second.stderr
    return subprocess.CompletedProcess(words, first.returncode or second.returncode, *printed)


def run_by_torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(BUNDLE), "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=BUNDLE, capture_output=True, text=True, timeout=900, env=environment)


def bundle_command(run_id: str, *configs: str, **settings: object) -> list[str]:
    """Returns one of the bundle's commands; configs are those of the bundle, by name, or files."""
    options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    files = str([name if os.path.isabs(name) else f"configs/{name}.yaml" for name in configs])
    return ["monai.bundle", "run", run_id, "--config_file", files, *options]


def read_configs(*configs: str, **settings: object) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config([str(BUNDLE / "configs" / f"{name}.yaml") for name in configs])
    parser.update(
        {"device": torch.device("cpu")} | {k: str(v) if isinstance(v, Path) else v for k, v in settings.items()}
    )
    return parser


def largest_difference(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> float:
    assert first.keys() == second.keys()
    return max((first[name].double() - second[name].double()).abs().max().item() for name in first)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("distributed")
    make_cohort(folder / "phantoms", **COHORT)
    return {"dataset_dir": folder / "phantoms", "cache_dir": folder / "cache", "ckpt_dir": folder / "models"}


@pytest.fixture(scope="module")
def trained(
    places: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Trains by two processes with half a batch each and everything on."""
    folder = tmp_path_factory.mktemp("trained")
    overlay = folder / "alike.json"
    overlay.write_text(json.dumps(ALIKE | {"+initialize": ["$torch.set_default_dtype(torch.float64)"]}))
    settings = places | SMALL | TRAINING | {"output_dir": folder, "batch_size": 1}
    result = run_by_torchrun(*bundle_command("training", "train", "multi_gpu_train", str(overlay), **settings))
    assert result.returncode == 0, result.stderr
    return folder, result


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the two processes have, for sums are rounded by how threads share them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def seeded_in_float64() -> Iterator[None]:
    set_determinism(seed=0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
    set_determinism(seed=None)


def test_two_processes_with_half_a_batch_train_as_one_with_the_whole(
    trained: tuple[Path, Any], places: dict[str, Path], seeded_in_float64: None
) -> None:
    folder, _ = trained
    parser = read_configs("train", **places, **SMALL, **TRAINING, batch_size=2)
    parser.update(ALIKE)
    parser["train"]["handlers"] = [h for h in parser["train"]["handlers"] if "VirtualAdversarial" in h["_target_"]]
    sampler = {"_target_": "DistributedSampler", "dataset": "@train#dataset", "num_replicas": 1, "rank": 0}
    parser["train"]["dataloader"] |= {"sampler": sampler, "shuffle": False}
    parser.get_parsed_content("train#run_state")  # which makes the networks in the order of a run
    trainer = parser.get_parsed_content("train#trainer")
    before = {name: snapshot(parser.get_parsed_content(name)) for name in ("network", "critic")}
    trainer.run()
    state = torch.load(folder / "state_iteration=6.pt", weights_only=True)
    assert state["run_state"]["iteration"] == trainer.state.iteration == 6
    for name in ("network", "critic"):
        alone = parser.get_parsed_content(name).state_dict()
        found = largest_difference(state[name], alone)
        print(f"{name}: weights and statistics differ by at most {found:.2g}")
        assert found < EXACT
        assert largest_difference(state[name], before[name]) > 1e-4


def test_only_the_first_process_writes_and_prints(trained: tuple[Path, Any], places: dict[str, Path]) -> None:
    folder, result = trained
    for words in ("validation Dice", "Not for diagnosis", "weights:", "case.png"):
        assert result.stdout.count(words) == 1, result.stdout
    assert len(list((folder / "tensorboard").iterdir())) == 1
    assert {path.name for path in places["ckpt_dir"].glob("*.pt")} == {"model.pt", "critic.pt"}
    with open(folder / "per_case.csv") as file:
        assert len(file.readlines()) == 1 + 3 * 3


def test_evaluating_by_two_processes_writes_what_one_does(
    trained: tuple[Path, Any], places: dict[str, Path], tmp_path: Path
) -> None:
    settings = places | SMALL | {"held_out_fraction": TRAINING["held_out_fraction"]}
    parser = read_configs(*EVALUATE, **settings, output_dir=tmp_path / "one", html=False)
    parser.get_parsed_content("weights")
    parser.get_parsed_content("evaluator").run()
    result = run_two(
        *bundle_command("evaluating", *EVALUATE, "multi_gpu_evaluate", output_dir=tmp_path / "two", **settings)
    )
    assert result.returncode == 0, result.stderr
    for name in ("per_case.csv", "reliability.csv", "summary.json", "summary.md"):
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert result.stdout.count("Not for diagnosis") == 2  # of the table and of the critic's reliability
    assert (tmp_path / "two" / "report.html").is_file()
    assert len(list((tmp_path / "two").glob("*_seg.nii.gz"))) == 3


def test_what_two_processes_compute_together_is_what_one_computes(tmp_path: Path) -> None:
    result = run_two("tests.two_processes", str(tmp_path))
    assert result.returncode == 0, result.stderr
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = train_alone()
    for name, weights in first.items():
        assert largest_difference(weights, second[name]) == 0
        print(f"{name}: weights differ by at most {largest_difference(weights, alone[name]):.2g}")
        assert largest_difference(weights, alone[name]) < EXACT


@pytest.mark.parametrize("processes", [1, 2, 3, 7])
@pytest.mark.parametrize("cases", [7, 8, 9])
def test_each_case_is_in_one_share_and_in_order(cases: int, processes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: processes)
    shares = []
    for rank in range(processes):
        monkeypatch.setattr("ignite.distributed.get_rank", lambda rank=rank: rank)
        shares.append(list(cases_of_process(cases)))
    assert [case for part in shares for case in part] == list(range(cases))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_fewer_cases_than_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ignite.distributed.get_world_size", lambda: 4)
    with pytest.raises(BundleError, match="3 cases to evaluate with 4 processes"):
        cases_of_process(3)


def test_alone_everything_is_ones_own() -> None:
    assert gather_from_processes([1, 2]) == [1, 2]
    assert all_processes_agree(True)
    assert not all_processes_agree(False)
    assert cases_of_process(3) == range(3)


def test_without_torchrun_the_overlays_are_refused() -> None:
    with pytest.raises(BundleError, match="torchrun"):
        join_processes("cpu")


def test_each_process_begins_vat_with_a_step_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    image, label = make_batch()
    segmenter = make_segmenter()
    trainer = make_supervised_trainer(segmenter)
    trainer.state.output = {"image": image, "label": label, "pred": segmenter(image)}
    handler = VirtualAdversarialHandler(segmenter, weight=1.0, epsilon=0.03, target="prediction")
    found = []
    for rank in (0, 1, 0):
        monkeypatch.setattr("ignite.distributed.get_rank", lambda rank=rank: rank)
        found.append(handler._perturb(trainer, *handler._batch(trainer)))
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
