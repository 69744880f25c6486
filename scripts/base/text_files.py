# SPDX-License-Identifier: Apache-2.0
"""Tables (CSV) and records (JSON) for other programs, written as `results` writes them."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from monai.config import PathLike

from scripts.base.results import write_result


def write_csv(path: PathLike, rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a CSV file whose columns are the keys of the first row.

    Floats are written to six significant digits; NaN and None become empty cells.

    Args:
        path: path of the file; its folders are created.
        rows: at least one row; all rows have the same keys.

    Raises:
        BundleError: if the file cannot be written, as `write_result`; an older file is then unchanged.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    write_result(path, text.getvalue().encode())


def write_json(path: PathLike, content: Any) -> None:
    """Writes a JSON file; content must hold None, not NaN, where a number is unknown.

    Raises:
        BundleError: if the file cannot be written, as `write_result`; an older file is then unchanged.
    """
    write_result(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def _cell(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value
