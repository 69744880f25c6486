# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from tests.label_app.running_server import needs_server

pytestmark = [needs_server, pytest.mark.label]


def test_better_weights_replace_no_earlier_backup(tmp_path: Path) -> None:
    from scripts.label_app.training import _serve

    served, found = tmp_path / "model.pt", tmp_path / "found.pt"
    served.write_bytes(b"shipped")
    (tmp_path / "model.previous.pt").write_bytes(b"a person's backup")
    for content in (b"first", b"second"):
        found.write_bytes(content)
        _serve(found, served)
    assert {path.name: path.read_bytes() for path in tmp_path.glob("model*")} == {
        "model.pt": b"second",
        "model.previous.pt": b"a person's backup",
        "model.previous-2.pt": b"shipped",
        "model.previous-3.pt": b"first",
    }
