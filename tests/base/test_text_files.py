# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.base.text_files import write_csv, write_json
from tests.outputs import results_in


def test_a_table_has_its_columns_in_order_six_digits_and_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.csv"
    rows = [
        {"case": 'a,"b"', "count": 3, "dice": 0.123456789, "hd95": float("nan")},
        {"case": "c", "count": 4, "dice": np.float64(1), "hd95": None},
    ]
    write_csv(path, rows)
    assert path.read_text() == 'case,count,dice,hd95\n"a,""b""",3,0.123457,\nc,4,1,\n'
    assert results_in(path.parent) == {path.name}


def test_rows_with_other_columns_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="other"):
        write_csv(tmp_path / "table.csv", [{"case": "a"}, {"case": "b", "other": 1}])
    assert not list(tmp_path.iterdir())


def test_a_record_is_strict_json(tmp_path: Path) -> None:
    write_json(tmp_path / "record.json", {"dice": [0.5, None]})
    assert json.loads((tmp_path / "record.json").read_text()) == {"dice": [0.5, None]}
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "record.json", {"dice": float("nan")})
    assert json.loads((tmp_path / "record.json").read_text()) == {"dice": [0.5, None]}


@pytest.mark.parametrize("write", [lambda path: write_csv(path, [{"a": 1}]), lambda path: write_json(path, {})])
def test_a_file_that_cannot_be_written_is_named(write: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"file/out: cannot be written"):
        write(tmp_path / "file" / "out")
