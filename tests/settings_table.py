# SPDX-License-Identifier: Apache-2.0
"""Tries every setting with a wrong value in every command, and writes docs/settings.md from the answers.

Run `python -m tests.settings_table` after a change of scripts/base/settings.py or of a config.
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from scripts.base.errors import BundleError
from scripts.base.settings import TYPES
from scripts.base.settings_check import CONFIGS, allowed, check_settings, names_in

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
COMMANDS = {
    "run training": ("train",),
    "run training, variety.yaml": ("train", "variety"),
    "run training, demo.yaml": ("train", "demo"),
    "run training, paper.yaml": ("train", "paper"),
    "run training, multi_gpu_train.yaml": ("train", "multi_gpu_train"),
    "run training --tracking configs/mlflow.yaml": ("train", "mlflow"),
    "MONAI Label's training": ("train", "finetune"),
    "scripts.federated": ("train", "federated"),
    "run inferring": ("inference",),
    "run inferring, dicom_seg.yaml": ("inference", "dicom_seg"),
    "run inferring, inference_trt.yaml": ("inference", "inference_trt"),
    "run evaluating": ("inference", "evaluate"),
    "run evaluating, multi_gpu_evaluate.yaml": ("inference", "evaluate", "multi_gpu_evaluate"),
    "run robustness": ("inference", "evaluate", "robustness"),
}
# by the words for what is allowed
WRONG = {
    "a path without # and ::, by which MONAI separates names": "run#1",
    "a path without # and ::, by which MONAI separates names or a list of paths": 0.5,
    "text without # and ::, by which MONAI separates names": "Run #1",
    "true or false": "maybe",
    "true or false or a path": "run#1.json",
    "a whole number from 1 on": 0,
    "a whole number from 0 on": -1,
    "a whole number from 0 to": -1,
    "a number above 0": 0,
    "a number from 0 on": "1e-3x",
    "a number from 0 to 1": 2,
    "a number between 0 and 1": 1,
    "a multiple of 16": 40,
    "a multiple of 8": 12,
    "1 or 2": 3,
    "3 or 4": 1,
    "cpu, cuda": "gpu",
    "a file named": "model.pt",
    "a regular expression": "(",
    "a list of paths": "model.pt",
    "a list of different axes": 0,
    "a list of different levels": [4],
    "a list of different sizes": [-0.1],
    "a list of noise": ["snow"],
}
OF_NAMES = "another"  # for settings that are one of a few names


def wrong_value(name: str) -> Any:
    """Returns a value that the setting may not have: that of the longest words with which its allowed ones begin."""
    fitting = [words for words in WRONG if allowed(name).startswith(words)]
    return WRONG[max(fitting, key=len)] if fitting else OF_NAMES


@functools.cache
def _config(command: str) -> dict[str, Any]:
    files = [str(CONFIGS / f"{name}.yaml") for name in COMMANDS[command]]
    tracking = [ConfigParser.load_config_file(file) for file in files if file.endswith("mlflow.yaml")]
    config = ConfigParser.load_config_files([file for file in files if not file.endswith("mlflow.yaml")])
    return functools.reduce(lambda merged, content: merged | content["configs"], tracking, config)


def parser_of(command: str, **settings: Any) -> ConfigParser:
    """Returns the parser of a command as MONAI makes it, settings included."""
    parser = ConfigParser(copy.deepcopy(_config(command)))
    parser.update(settings)
    return parser


def settings_of(command: str) -> list[str]:
    """Returns the settings that a command has."""
    return [name for name in TYPES if name in _config(command)]


def answer(command: str, **settings: Any) -> str:
    """Returns what the check says, or nothing where all is well."""
    try:
        check_settings(parser_of(command, **settings))
    except BundleError as error:
        return f"error: {error}"
    return ""


def page() -> str:
    """Returns docs/settings.md."""
    rows = []
    for name in TYPES:
        command = next(command for command in COMMANDS if name in settings_of(command))
        wrong = wrong_value(name)
        files = sorted(path.name for path in CONFIGS.glob("*.yaml") if name in names_in(path.name))
        line = answer(command, **{name: wrong})
        rows.append([f"`{name}`", ", ".join(files), _kind(name), allowed(name), f"`{wrong}`", line])
    head = ["setting", "configs that set it", "type", "allowed", "a wrong value", "its answer"]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(
        [
            "# Settings",
            "",
            "Every setting at the top of a config: `--NAME VALUE` on the command line, an entry of an `--args_file`,",
            "or an argument of `ConfigWorkflow`. The comments in the configs say what each means; the types stand in",
            "scripts/base/settings.py. All of them are checked before anything else runs.",
            "This page is written by `python -m tests.settings_table`.",
            "",
            *lines,
            "",
        ]
    )


def _kind(name: str) -> str:
    names = {"string": "text", "array": "list", "object": "map", "null": "null", "integer": "integer"}
    schema = TYPES[name].json_schema()
    kinds = [option.get("type", "text") for option in schema.get("anyOf", [schema])]
    return ", ".join(names.get(kind, kind) for kind in kinds)


if __name__ == "__main__":
    PAGE.write_text(page())
