# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from scripts.tools.benchmark import VARIANTS
from tests.commands import run

BUNDLE = Path(__file__).parents[2]


def test_each_variant_of_a_step_gets_a_row_of_time_and_memory() -> None:
    settings = '{"patch_size": 16, "features": 8, "critic_features": 4}'
    result = run("scripts.tools.benchmark", "--steps", "2", "--settings", settings)
    assert result.returncode == 0, result.stderr
    header, *rows = result.stdout.splitlines()
    assert header.split() == ["step", "median", "s", "min", "max", "peak", "GB"]
    for row, variant in zip(rows, VARIANTS, strict=True):
        assert row[:14].strip() == variant
        median, fastest, slowest, peak = map(float, row[14:].split())
        assert 0 <= fastest <= median <= slowest
        assert peak > 0.1
