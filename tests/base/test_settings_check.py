# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigWorkflow

from scripts.base.errors import BundleError
from scripts.base.settings_check import CONFIGS, as_typed, check_batches, check_settings, to_type
from tests import commands
from tests.settings_table import answer, parser_of


@pytest.mark.parametrize(
    ("name", "value", "typed"),
    [
        ("critic_balanced", "false", False),
        ("amp", "true", True),
        ("amp", False, False),
        ("initial_foreground_probability", "null", None),
        ("initial_foreground_probability", "0.05", 0.05),
        ("learning_rate", "1e-3", 0.001),
        ("spacing", 1, 1.0),
        ("epochs", "4", 4),
        ("flips", "[0,1]", [0, 1]),
        ("flips", [], []),
        ("output_dir", 20240501, "20240501"),
        ("output_dir", Path("a/b"), "a/b"),
        ("resume", "auto", "auto"),
        ("resume", None, None),
        ("enhancing_label", "3", 3),
        ("checkpoints", {"a": "a.pt"}, {"a": "a.pt"}),
        ("checkpoints", ["a.pt"], ["a.pt"]),
        ("artefacts", "[noise, no_FLAIR]", ["noise", "no_FLAIR"]),
        ("device", "cpu", torch.device("cpu")),
        ("title", 2024, "2024"),
        ("save_execute_config", "false", False),
    ],
)
def test_a_value_is_brought_to_its_type(name: str, value: Any, typed: Any) -> None:
    found = to_type(name, value)
    assert found == typed
    assert type(found) is type(typed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", True),
        ("epochs", 2.5),
        ("epochs", None),
        ("lambda_vat", "nan"),
        ("lambda_vat", float("inf")),
        ("spacing", -1),
        ("patch_size", 0),
        ("patch_size", "big"),
        ("seed", 2**32),
        ("device", "cuda:99"),
        ("flips", [0, 0]),
        ("flips", "[0"),
        ("flips", [True]),
        ("output_dir", ""),
        ("output_dir", True),
        ("output_dir", "run::1"),
        ("artefacts", "noise"),
        ("scoring_rules", "brats2022"),
        ("amp_dtype", "fp16"),
        ("split", "some"),
        ("min_component", 0.5),
    ],
)
def test_what_is_not_allowed_is_refused(name: str, value: Any) -> None:
    with pytest.raises(BundleError, match=f"^{name} is "):
        to_type(name, value)


@pytest.mark.parametrize(
    ("command", "name", "words"),
    [
        ("run training", "epoch", ("epoch is no setting of train.yaml", "did you mean epochs?")),
        ("run inferring", "probability", ("did you mean probabilities?",)),
        ("run inferring", "split", ("split is a setting of evaluate.yaml, not of inference.yaml.",)),
        ("run training", "phantoms", ("phantoms is a setting of demo.yaml",)),
        ("run training", "run_name", ("run_name is a setting of federated.yaml and mlflow.yaml",)),
        ("run robustness", "norm", ("did you mean norms?",)),
    ],
)
def test_an_unknown_name_is_answered_by_the_nearest(command: str, name: str, words: tuple[str, ...]) -> None:
    (line,) = answer(command, **{name: 1}).splitlines()
    assert all(word in line for word in words), line


def test_each_fault_has_a_line() -> None:
    lines = answer("run training", lambda_vat="abc", epoch=1, seed=-1).splitlines()
    assert [line.split()[1] for line in lines] == ["epoch", "lambda_vat", "seed"]
    assert all(line.startswith("error: ") for line in lines)


def test_settings_that_nothing_refers_to_any_more_are_known() -> None:
    places = dict.fromkeys(("dataset_dir", "ckpt_dir", "output_dir", "cache_dir"), "a")
    assert answer("run training, demo.yaml", **places) == ""
    assert answer("scripts.federated", **places, epochs=4, val_interval=2) == ""


def test_the_config_has_the_typed_values_afterwards() -> None:
    parser = parser_of("run training", critic_balanced="false", output_dir=20240501, device="cpu")
    check_settings(parser)
    assert parser.get_parsed_content("adversarial_loss").balanced is False
    assert parser.get_parsed_content("output_dir") == "20240501"


def test_an_interval_longer_than_the_training_is_refused() -> None:
    assert "val_interval is 3 of 2 epochs" in answer("run training", epochs=2, val_interval="3")
    assert "val_interval is 9 of 2 epochs" in answer("scripts.federated", rounds=1, local_epochs=2, val_interval=9)


@pytest.mark.parametrize(("batch_size", "accumulate", "named"), [(9, 1, "batch_size is 9"), (2, 5, "accumulate is 5")])
def test_more_than_the_cases_of_a_process_is_refused(batch_size: int, accumulate: int, named: str) -> None:
    check_batches(8, batch_size=2, accumulate=4)
    with pytest.raises(BundleError, match=named):
        check_batches(8, batch_size=batch_size, accumulate=accumulate)


@pytest.mark.parametrize(
    ("word", "value", "typed"),
    [("2024_05", 202405, "2024_05"), ("1e3", 1000.0, "1e3"), ("run#1", "run", "run#1"), ("'5'", "5", "5")],
)
def test_a_text_is_taken_as_it_was_typed(word: str, value: Any, typed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for words in (["--output_dir", word], [f"--output_dir={word}"]):
        monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", *words, "--epochs", "2"])
        assert as_typed("output_dir", value) == typed
        assert as_typed("ckpt_dir", value) == value


def test_a_workflow_of_python_is_checked_when_it_is_initialised() -> None:
    workflow = ConfigWorkflow(str(CONFIGS / "train.yaml"), logging_file=False, workflow_type="train", amp="maybe")
    with pytest.raises(RuntimeError) as raised:
        workflow.initialize()
    assert str(raised.value.__cause__) == "amp is maybe; allowed: true or false or auto."


def run(*words: str) -> tuple[int, list[str]]:
    ended = commands.run("monai.bundle", "run", *words)
    assert "Traceback" not in ended.stderr
    return ended.returncode, [line for line in ended.stderr.splitlines() if line.startswith("error: ")]


def test_the_command_line_ends_with_the_lines_alone(tmp_path: Path) -> None:
    faults = ("--critic_balanced", "maybe", "--output_dir", "run#1", "--flips", "0", "--learning_rate", "1e-3x")
    demo = "['configs/train.yaml','configs/demo.yaml']"
    code, lines = run("training", "--config_file", demo, *faults, "--bundle_root", str(tmp_path))
    assert code == 1
    assert [line.split()[1] for line in lines] == ["critic_balanced", "flips", "learning_rate", "output_dir"]
    assert not list(tmp_path.iterdir())  # no phantom was made


def test_an_args_file_is_checked_alike(tmp_path: Path) -> None:
    args = {"config_file": ["configs/inference.yaml", "configs/evaluate.yaml"], "min_component": "0.5", "epochs": 2}
    (tmp_path / "args.json").write_text(json.dumps(args))
    code, lines = run("evaluating", "--args_file", str(tmp_path / "args.json"))
    assert code == 1
    assert [line.split()[1] for line in lines] == ["epochs", "min_component"]
