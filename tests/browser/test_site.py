# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.base.results import LIST
from scripts.browser import runtime
from scripts.browser.site import MANIFEST, write_site


def test_another_file_than_the_pinned_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such file; `npm pack onnxruntime-web@"):
        runtime.read_runtime(tmp_path / runtime.ARCHIVE)
    (tmp_path / runtime.ARCHIVE).write_bytes(b"another")
    with pytest.raises(BundleError, match="its SHA-512 differs"):
        runtime.read_runtime(tmp_path / runtime.ARCHIVE)


def test_the_runtime_is_taken_out_of_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as package:
        for path in runtime.FILES.values():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size = len(path)
            package.addfile(entry, io.BytesIO(path.encode()))
    (tmp_path / runtime.ARCHIVE).write_bytes(content.getvalue())
    monkeypatch.setattr(runtime, "SHA512", runtime.digest_of(content.getvalue()))
    found = runtime.read_runtime(tmp_path / runtime.ARCHIVE)
    assert found == {name: path.encode() for name, path in runtime.FILES.items()}
    assert runtime.fetch_archive(tmp_path) == tmp_path / runtime.ARCHIVE


def test_where_npm_is_missing_or_fails_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match=r"npm is not installed; run `npm pack .* --onnxruntime"):
        runtime.fetch_archive(tmp_path / "npm")
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'no network' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(BundleError, match=r"failed \(no network\); run `npm pack"):
        runtime.fetch_archive(tmp_path / "archives")


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
