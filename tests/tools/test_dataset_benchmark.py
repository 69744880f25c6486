# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.data.cohort import Cohort
from scripts.data.discovery import find_cases
from scripts.data.phantoms import make_cohort
from scripts.data.sound_cases import RULES
from scripts.tools.dataset_benchmark import PARTS, link_cases
from tests.commands import run

BUNDLE = Path(__file__).parents[2]


def test_links_are_cases_of_their_own(tmp_path: Path) -> None:
    phantoms = make_cohort(tmp_path / "phantoms", cases=2, shape=(32, 32, 32))
    link_cases(phantoms, tmp_path / "data", cases=5)
    items = find_cases(str(tmp_path / "data"))
    assert [item["case"] for item in items] == [f"BraTS2021_{index:05d}" for index in range(5)]
    assert not [item for item in items if "fault" in item]
    assert len({Path(path).resolve() for item in items for path in (*item["image"], item["label"])}) == 10
    assert Cohort(str(tmp_path / "data"), cache_dir=str(tmp_path / "cache")).sound_cases() == items
    assert len(list((tmp_path / "cache" / f"sound_cases_{RULES}").iterdir())) == 5


@pytest.mark.slow  # runs the whole tool
def test_each_part_gets_a_row_of_time_and_memory() -> None:
    settings = '{"patch_size": 16, "features": 8, "critic_features": 4, "spacing": 5.0}'
    command = [
        "scripts.tools.dataset_benchmark",
        "--cases",
        "4",
        "--phantoms",
        "2",
        "--shape",
        "32",
        "32",
        "32",
    ]
    result = run(*command, "--settings", settings)
    assert result.returncode == 0, result.stderr
    _, header, *rows = result.stdout.splitlines()
    assert header.split() == ["seconds", "of", "CPU", "peak", "GB"]
    for row, part in zip(rows, PARTS, strict=True):
        assert row[:16].strip() == part
        assert np.array(row[16:].split(), float).min() >= 0
