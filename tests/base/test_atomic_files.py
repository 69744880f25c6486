# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.base.atomic_files import make_folder, write_atomically
from scripts.base.errors import BundleError


def test_a_file_takes_the_place_of_the_old_one_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_atomically(path, b"old and longer")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_stays_where_the_new_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(BundleError, match=r"file: cannot be written \(No space left on device\)"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="file/new: cannot be written"):
        write_atomically(tmp_path / "file" / "new", b"")


def test_a_folder_is_made_and_left_as_it_is(tmp_path: Path) -> None:
    for _ in range(2):
        make_folder(tmp_path / "deep" / "folder")
        assert list((tmp_path / "deep" / "folder").iterdir()) == []


def test_a_folder_that_takes_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        with pytest.raises(BundleError, match=f"{place}: cannot be written into"):
            make_folder(tmp_path / place)
    with pytest.raises(BundleError, match="cannot be written into"):
        make_folder("/proc/self")
