# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts.base.errors import one_line

IN_A_CONFIG = """
from monai.bundle import ConfigParser

parser = ConfigParser({{
    "imports": ["$import scripts.base.errors as errors", "$import scripts.base.weights as weights"],
    "initialize": ["$errors.report_bundle_errors()"],
    "weights": "${expression}",
    "run": ["$print(@weights)"],
}})
for step in ("initialize", "run"):
    parser.get_parsed_content(step)
"""
PLAIN = """
from scripts.base.errors import BundleError, report_bundle_errors

report_bundle_errors()
{code}
"""
WRAPPED = """
try:
    raise BundleError("no weights at a.pt: train first.")
except BundleError as error:
    raise KeyError("a wrapper") from error
"""


def run(program: str) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True)
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    "program",
    [
        IN_A_CONFIG.format(expression="weights.load_weights(None, 'a.pt')"),
        PLAIN.format(code="raise BundleError('no weights at a.pt: train first.')"),
        PLAIN.format(code=WRAPPED),
    ],
    ids=["in a config's expression", "plain", "wrapped"],
)
def test_a_users_mistake_ends_with_one_line(program: str) -> None:
    code, lines = run(program)
    assert code == 1
    assert lines[-1].startswith("error: no weights at a.pt: train first")
    assert not any("Traceback" in line for line in lines)


def test_a_full_gpu_ends_with_the_settings_that_need_less() -> None:
    message = "CUDA out of memory. Tried to allocate 2.00 GiB."
    code, lines = run(PLAIN.format(code=f"import torch\nraise torch.OutOfMemoryError('{message}')"))
    assert code == 1
    assert lines[-2] == f"error: the GPU's memory is full ({message})"
    assert all(
        setting in lines[-1] for setting in ("--batch_size", "--patch_size", "--features", "--amp", "--accumulate")
    )
    assert not any("Traceback" in line for line in lines)


@pytest.mark.parametrize(
    "program", [IN_A_CONFIG.format(expression="1 / 0"), PLAIN.format(code="1 / 0")], ids=["in a config", "plain"]
)
def test_any_other_error_keeps_its_traceback(program: str) -> None:
    code, lines = run(program)
    assert code == 1
    assert any(line.startswith("Traceback") for line in lines)
    assert any("ZeroDivisionError: division by zero" in line for line in lines)
    assert not any(line.startswith("error:") for line in lines)


def test_a_line_of_text_shows_what_cannot_be_printed() -> None:
    assert one_line("é 漢 'a' \\") == "é 漢 'a' \\"
    assert one_line("a\nb\x1b\udce9\u202e") == r"a\nb\x1b\udce9\u202e"
    assert one_line(Path("a\tb")) == r"a\tb"
