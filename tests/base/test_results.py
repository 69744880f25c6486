# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ast
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripts.base.errors import BundleError
from scripts.base.results import LIST, check_results, is_result, refuse_replacing, set_aside, write_result
from scripts.base.text_files import write_csv, write_json

SCRIPTS = Path(__file__).parents[2] / "scripts"
# what may write by itself, and why
WRITERS = {
    "base/atomic_files.py",
    "base/results.py",
    "base/folder_lock.py",  # its own hidden files
    "data/sound_cases.py",  # the cache
    "data/phantoms.py",  # a new folder, which it does not mix with another's
    "federated/simulation.py",  # the same
    "tools/dataset_benchmark.py",  # links in a temporary folder
    "tools/evidence/labels.py",  # links, which replace nothing
    "tools/peers/nnunet.py",  # the same
    "base/marked_page.py",  # the rest of a page that is given to it, below a mark
    "label_app/history.py",  # versions, none of which is ever replaced, in a folder of their own
    "label_app/volumes.py",  # that folder, and the cache
    "label_app/training.py",  # the bundle's own folder
}


def test_a_result_is_replaced_by_the_next_and_listed(tmp_path: Path) -> None:
    for content in (b"one", b"two", b"one"):
        write_result(tmp_path / "out" / "report.html", content)
        assert (tmp_path / "out" / "report.html").read_bytes() == content
        assert is_result(tmp_path / "out" / "report.html")
    write_result(tmp_path / "out" / "a table.csv", b"")
    assert subprocess.run(["sha256sum", "-c", LIST], cwd=tmp_path / "out", capture_output=True).returncode == 1
    lines = (tmp_path / "out" / LIST).read_text().split("\n")
    assert lines[0].startswith("# What this program wrote")
    assert [line[66:] for line in lines[1:]] == ["report.html", "report.html", "a table.csv"]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_result(path, b"ours"),
        lambda path: write_csv(path, [{"dice": 1.0}]),
        lambda path: write_json(path, {"dice": 1.0}),
        refuse_replacing,
        lambda path: check_results([], SimpleNamespace(results_of=lambda cases: [path])),
    ],
)
def test_what_a_person_made_or_changed_is_never_replaced(tmp_path: Path, write: Callable[[Path], None]) -> None:
    path = tmp_path / "metrics.csv"
    for earlier in (None, b"ours, once"):
        if earlier:
            path.unlink()
            write_result(path, earlier)
        path.write_bytes(b"a week of work")
        with pytest.raises(BundleError, match=r"metrics\.csv: was not written by this program.*choose another"):
            write(path)
        assert path.read_bytes() == b"a week of work"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")  # a link that leads nowhere is somebody's, too
    with pytest.raises(BundleError, match=r"metrics\.csv"):
        write(path)


def test_a_run_that_is_killed_while_it_writes_can_be_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.json"
    write_result(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr("scripts.base.results.write_atomically", lambda path, content: None)
        write_result(path, b"new")  # killed before the file is there
    assert is_result(path)
    path.write_bytes(b"new")  # killed after it
    assert is_result(path)
    with open(tmp_path / LIST, "ab") as file:
        file.write(b"\n0123")  # a full disk
    write_result(path, b"newer")
    assert is_result(path)


def test_what_will_be_written_is_asked_of_every_writer(tmp_path: Path) -> None:
    class Writer:
        def results_of(self, cases: Sequence[str]) -> list[Path]:
            return [tmp_path / f"{case}_seg.dcm" for case in cases]

    (tmp_path / "b_seg.dcm").touch()
    writers = [None, SimpleNamespace(transforms=(object(), [Writer()]))]
    check_results([{"case": "a"}, "c"], writers)
    with pytest.raises(BundleError, match=r"b_seg\.dcm"):
        check_results([{"case": "a"}, {"case": "b"}], writers)


def test_a_file_that_is_set_aside_replaces_nothing_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(b"shipped")
    assert set_aside(path, "model.previous.pt").read_bytes() == b"shipped"
    names = []
    for content in (b"first", b"second"):
        write_result(path, content)
        names.append(set_aside(path, "model.previous.pt").name)
    assert names == ["model.previous-2.pt"] * 2
    kept = {file.name: file.read_bytes() for file in tmp_path.glob("*.pt")}
    assert kept == {"model.previous.pt": b"shipped", "model.previous-2.pt": b"second"}


def test_nothing_else_writes_files() -> None:
    """Every module that opens, copies or saves a file otherwise is known, with its reason."""
    writing = {"write_text", "write_bytes", "write_atomically", "savefig", "copy", "copy2", "copyfile", "symlink_to"}
    found = set()
    for path in sorted(SCRIPTS.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not (node.args or node.keywords):  # such as array.copy()
                continue
            called = ast.unparse(node.func)
            if called.rpartition(".")[2] in writing or called in ("torch.save", "nib.save", "np.save"):
                found.add(path.relative_to(SCRIPTS).as_posix())
    in_memory = {"base/text_files.py", "evaluation/report/appearance.py"}
    assert found - in_memory <= WRITERS
