# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from scripts.base.errors import BundleError
from scripts.browser.site import MANIFEST
from scripts.tools.release import BUNDLE, NAME, check, collect, collect_page, pack
from tests.commands import run
from tests.outputs import results_in

SCHEMA = Path(__file__).with_name("metadata_schema.json")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return collect(BUNDLE)


def test_the_archive_holds_what_a_user_needs_below_one_folder(files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(io.BytesIO(pack(files))) as archive:
        names = [name.removeprefix(f"{NAME}/") for name in archive.namelist()]
        contents = {name: archive.read(f"{NAME}/{name}") for name in names}
    assert contents == files
    assert files["metadata.json"] == files["configs/metadata.json"]
    assert {
        "configs/train.yaml",
        "scripts/method/vat.py",
        "scripts/web/niivue.umd.js",
        "models/critic.pt",
    } <= set(names)
    unwanted = ("tests", "output", "__pycache__", "previous", ".git", ".ci")
    assert not [name for name in names for word in unwanted if word in name]


def test_what_runs_leave_among_the_scripts_stays_here(tmp_path: Path) -> None:
    for name in ("scripts/label_app/main.py", "scripts/label_app/logs/app.log", "scripts/__pycache__/vat.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list(collect(tmp_path)) == ["scripts/label_app/main.py"]


def test_the_same_contents_make_the_same_archive(files: dict[str, bytes]) -> None:
    assert pack(files) == pack(collect(BUNDLE))


def test_the_page_is_packed_as_it_was_written_or_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="holds no page"):
        collect_page(tmp_path)
    sizes = {"index.html": 4, "steps/box.js": 2}
    page = {"index.html": b"page", "steps/box.js": b"js", MANIFEST: json.dumps({"files": sizes}).encode()}
    for path, content in page.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert collect_page(tmp_path) == page
    (tmp_path / "steps/box.js").write_bytes(b"cut short")
    with pytest.raises(BundleError, match=r"steps/box.js is not as it was written"):
        collect_page(tmp_path)


def with_metadata(files: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    metadata = json.loads(files["configs/metadata.json"]) | changes
    return files | {"configs/metadata.json": json.dumps(metadata).encode()}


def test_the_bundle_keeps_the_rules(files: dict[str, bytes]) -> None:
    check(files)


def test_what_breaks_a_rule_is_named(files: dict[str, bytes]) -> None:
    listed = b"large_files:\n- {path: models/model.pt, url: x, hash_type: sha256, hash_val: abc}\n"
    broken = {
        "LICENSE: missing": {path: content for path, content in files.items() if path != "LICENSE"},
        "docs/big.png: 26.0 MB": files | {"docs/big.png": bytes(26_000_000)},
        "version 9.9.9 is not in its changelog": with_metadata(files, version="9.9.9"),
        "numpy 1.0, in requirements.txt 2": with_metadata(files, numpy_version="1.0"),
        "another sha256": files | {"large_files.yml": listed},
    }
    for words, contents in broken.items():
        with pytest.raises(BundleError, match=words):
            check(contents)


def test_the_command_writes_archive_and_checksum(tmp_path: Path) -> None:
    result = run("scripts.tools.release", "--output_dir", str(tmp_path))
    assert result.returncode == 0, result.stderr
    archive, checksum = (tmp_path / name for name in sorted(results_in(tmp_path)))
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert checksum.read_text() == f"{digest}  {archive.name}\n"
    assert digest in result.stdout


def test_the_metadata_keep_the_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema, metadata = json.loads(SCHEMA.read_text()), json.loads((BUNDLE / "metadata.json").read_text())
    jsonschema.validate(metadata, schema)
    for missing in ("changelog", "network_data_format"):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({name: value for name, value in metadata.items() if name != missing}, schema)
