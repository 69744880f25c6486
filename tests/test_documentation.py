# SPDX-License-Identifier: Apache-2.0
"""Whatever docs, configs and README name must exist: paths, modules and what is imported from them, and links."""

from __future__ import annotations

import re
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

BUNDLE = Path(__file__).parents[1]
TEXTS = sorted(
    path.relative_to(BUNDLE).as_posix()
    for pattern in (
        "*.md",
        "*.txt",
        "docs/*.md",
        "docs/*.ipynb",
        "configs/*.yaml",
        "scripts/**/*.md",
        "scripts/**/*.py",
    )
    for path in BUNDLE.glob(pattern)
)
FOLDERS = "|".join(("scripts", "configs", "tests", "docs", "models"))
PATH = re.compile(rf"(?<![\w./])(?:{FOLDERS})/[\w./-]*\w")
MODULE = re.compile(r"(?<![\w.])scripts(?:\.[A-Za-z]\w*)+")
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")
# written by a command of the text that names them, or by a run
MADE = re.compile(r"models/.*(\.ts|\.onnx|\.previous\.pt|\.partial|\*)|.*/logs/?")


def missing_paths(text: str) -> set[str]:
    return {path for path in PATH.findall(text) if not MADE.fullmatch(path) and not (BUNDLE / path).exists()}


def missing_modules(text: str) -> set[str]:
    return {name for name in MODULE.findall(text) if not resolves(name)}


def resolves(name: str) -> bool:
    """Looks a dotted name up in the files, because some modules need what is not installed here."""
    *module, attribute = name.split(".")
    if BUNDLE.joinpath(*name.split(".")).is_dir() or BUNDLE.joinpath(*module, f"{attribute}.py").is_file():
        return True
    place = BUNDLE.joinpath(*module)
    texts = [file.read_text() for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()]
    return any(
        re.search(rf"^\s*(?:(?:def|class) )?{attribute}\b|\"{attribute}\"", text, re.MULTILINE) for text in texts
    )


@pytest.mark.parametrize("name", TEXTS)
def test_every_path_and_module_that_a_text_names_exists(name: str) -> None:
    text = (BUNDLE / name).read_text()
    assert missing_paths(text) == set()
    assert missing_modules(text) == set()


def test_exports_are_written_into_a_new_folder() -> None:
    commands = [
        text for name in TEXTS for text in re.findall(r"\w+_export .*--filepath \S+", (BUNDLE / name).read_text())
    ]
    places = {command.split()[-1].rpartition("/")[0] for command in commands}
    assert places == {"output/export"}
    before, _, _ = (BUNDLE / "docs" / "README.md").read_text().partition("ckpt_export")
    assert "mkdir output/export\n" in before  # without -p, it fails where there is one


@pytest.mark.parametrize("name", [name for name in TEXTS if name.endswith(".md")])
def test_every_link_leads_somewhere(name: str) -> None:
    text, folder = (BUNDLE / name).read_text(), (BUNDLE / name).parent
    assert {link for link in LINK.findall(text) if not (folder / link).exists()} == set()


def test_what_does_not_exist_is_noticed() -> None:
    assert missing_paths("see `scripts/vat.py` and `configs/train.yaml`") == {"scripts/vat.py"}
    assert missing_modules("`python -m scripts.benchmark`, scripts.method.ReciprocalStep") == {"scripts.benchmark"}


def test_the_readmes_map_is_the_tree() -> None:
    readme = (BUNDLE / "README.md").read_text()
    listed = set(re.findall(r"^  (\w+(?:/|\.py))  ", readme, re.MULTILINE))
    tracked = subprocess.run(["git", "ls-files", "scripts"], cwd=BUNDLE, capture_output=True, text=True).stdout.split()
    if not tracked:
        pytest.skip("not a git checkout")
    parts = {Path(path).relative_to("scripts").parts for path in tracked}
    rooms = {f"{first}/" if rest else first for first, *rest in parts} - {"__init__.py"}
    assert listed == rooms


@pytest.mark.parametrize("room", ["base", "method", "data", "training", "inference", "evaluation"])
def test_each_room_says_what_lives_there(room: str) -> None:
    assert (import_module(f"scripts.{room}").__doc__ or "").count(".") >= 2
