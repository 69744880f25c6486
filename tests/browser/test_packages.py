# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.browser import packages
from scripts.browser.packages import Package

PACKED = Package("@scope/tool", "1.2.3", "", {"tool.mjs": "dist/tool.js", "tool.wasm": "dist/tool.wasm"})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A package whose archive is in `tmp_path`, and the only one that the page needs."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path in PACKED.files.values():
            entry = tarfile.TarInfo(f"package/{path}")
            entry.size = len(path)
            archive.addfile(entry, io.BytesIO(path.encode()))
    package = PACKED._replace(sha512=packages.digest_of(content.getvalue()))
    (tmp_path / package.archive).write_bytes(content.getvalue())
    monkeypatch.setattr(packages, "PACKAGES", (package,))
    return package


def test_files_are_taken_out_of_a_package(package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    packages.fetch_packages(tmp_path)  # which needs no npm where the archive is there
    assert packages.read_packages(tmp_path) == {name: path.encode() for name, path in package.files.items()}


def test_another_file_than_the_pinned_package_is_refused(package: Package, tmp_path: Path) -> None:
    archive = tmp_path / "scope-tool-1.2.3.tgz"
    archive.write_bytes(b"another")
    with pytest.raises(BundleError, match="its SHA-512 differs from that of @scope/tool; fetch it by `npm pack @scope"):
        packages.read_packages(tmp_path)
    archive.unlink()
    with pytest.raises(BundleError, match=r"no such file; `npm pack @scope/tool@1\.2\.3` writes it"):
        packages.read_packages(tmp_path)


def test_where_npm_is_missing_or_fails_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BundleError, match=r"npm is not installed; run `npm pack onnxruntime-web@.* put the file"):
        packages.fetch_packages(tmp_path / "npm")
    npm = tmp_path / "npm"
    npm.write_text("#!/bin/sh\necho 'no network' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(BundleError, match=r"failed \(no network\); run `npm pack"):
        packages.fetch_packages(tmp_path / "archives")
