# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.data.sound_cases import RULES, recall, remember
from tests.data.test_checks import make_case


def test_a_case_is_known_until_a_file_of_it_changes(tmp_path: Path) -> None:
    item, cache = make_case(tmp_path / "data"), str(tmp_path / "cache")
    assert recall(item, cache) is None
    remember(item, (1.0, 2.0, 4.0), cache)
    assert recall(item, cache) == (1.0, 2.0, 4.0)
    remember(item, (), cache)
    assert recall(item, cache) == ()
    os.utime(item["image"][1], ns=(0, 0))
    assert recall(item, cache) is None


def test_a_damaged_mark_is_not_believed(tmp_path: Path) -> None:
    item, cache = make_case(tmp_path / "data"), str(tmp_path / "cache")
    remember(item, (1.0,), cache)
    (mark,) = (tmp_path / "cache" / f"sound_cases_{RULES}").iterdir()
    mark.write_text("damaged")
    assert recall(item, cache) is None


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"cache_dir .*/file: cannot be written .*; choose another"):
        remember(make_case(tmp_path), (), str(tmp_path / "file"))
