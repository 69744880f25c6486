# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.base.results import LIST
from scripts.browser.site import MANIFEST, write_site


def test_a_page_replaces_an_older_page_and_nothing_else(tmp_path: Path) -> None:
    def files(*names: str) -> dict[str, bytes]:
        return dict.fromkeys(names, b"x") | {MANIFEST: json.dumps({"files": dict.fromkeys(names, 1)}).encode()}

    write_site(tmp_path, files("index.html", "steps/old.js"))
    (tmp_path / "thesis.txt").write_text("mine")
    write_site(tmp_path, files("index.html", "steps/new.js"))
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in found if not name.endswith(LIST)} == {MANIFEST, "index.html", "steps/new.js", "thesis.txt"}
    (tmp_path / "index.html").write_text("changed by a person")
    with pytest.raises(BundleError, match=r"index\.html: was not written by this program, or was changed since"):
        write_site(tmp_path, files("index.html"))
    assert (tmp_path / "index.html").read_text() == "changed by a person"
