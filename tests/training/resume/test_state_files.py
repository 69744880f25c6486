# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events

from scripts.base.errors import BundleError
from scripts.training.resume.state_files import StateSaver, find_state
from tests.outputs import results_in


class Counter:
    """Has a state."""

    def __init__(self) -> None:
        self.value = 0.0

    def state_dict(self) -> dict[str, Any]:
        self.value += 1
        return {"value": torch.full((1000,), self.value)}


def save(folder: Path, *, epochs: int, interval: int = 1, is_main_process: bool = True, resumed: int = 0) -> Counter:
    """Runs epochs of three iterations, from the `resumed`th iteration on."""
    counter, engine = Counter(), Engine(lambda engine, batch: None)

    @engine.on(Events.STARTED)
    def resume() -> None:
        engine.state.iteration, engine.state.epoch = resumed, resumed // 3

    StateSaver(str(folder), saved={"counter": counter}, interval=interval, is_main_process=is_main_process).attach(
        engine
    )
    engine.run(range(3), max_epochs=epochs)
    return counter


def names(folder: Path) -> list[str]:
    return sorted(results_in(folder))


def test_the_last_two_states_are_kept_those_of_former_processes_counted(tmp_path: Path) -> None:
    save(tmp_path, epochs=3)
    assert names(tmp_path) == ["state_iteration=6.pt", "state_iteration=9.pt"]
    save(tmp_path, epochs=5, resumed=9)
    assert names(tmp_path) == ["state_iteration=12.pt", "state_iteration=15.pt"]


def test_a_state_that_a_person_put_there_is_never_removed(tmp_path: Path) -> None:
    save(tmp_path / "other", epochs=4)
    copied = (tmp_path / "other" / "state_iteration=12.pt").read_bytes()
    (tmp_path / "state_iteration=12.pt").write_bytes(copied)
    save(tmp_path, epochs=7, resumed=12)
    assert names(tmp_path) == ["other"] + [f"state_iteration={number}.pt" for number in (12, 18, 21)]
    (tmp_path / "previous").mkdir()
    (tmp_path / "previous" / "state_iteration=18.pt").write_bytes(b"a week of work")
    save(tmp_path, epochs=1)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "previous").glob("*.pt")}
    assert kept.pop("state_iteration=18.pt") == b"a week of work"
    assert kept.keys() == {"state_iteration=12.pt", "state_iteration=18-2.pt", "state_iteration=21.pt"}
    assert kept["state_iteration=12.pt"] == copied


@pytest.mark.parametrize(("resumed", "kept"), [(0, []), (6, ["state_iteration=6.pt"])])
def test_states_of_another_run_are_put_aside_whole(resumed: int, kept: list[str], tmp_path: Path) -> None:
    save(tmp_path, epochs=3)
    contents = {path.name: path.read_bytes() for path in tmp_path.glob("*.pt")}
    save(tmp_path, epochs=1 + resumed // 3, resumed=resumed)
    new = f"state_iteration={resumed + 3}.pt"
    assert names(tmp_path) == sorted(["previous", new, *kept])
    for name in contents.keys() - {*kept}:
        assert (tmp_path / "previous" / name).read_bytes() == contents[name]
    assert find_state("auto", output_dir=str(tmp_path)) == str(tmp_path / new)


def test_what_a_killed_run_left_unfinished_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".unfinished-x").mkdir()
    (tmp_path / ".unfinished-x" / "state_iteration=3.pt").write_bytes(b"half")
    save(tmp_path, epochs=1)
    assert names(tmp_path) == ["state_iteration=3.pt"]


def test_of_several_processes_one_saves(tmp_path: Path) -> None:
    assert save(tmp_path, epochs=2, is_main_process=False).value == 0
    assert names(tmp_path) == []


def test_a_full_disk_leaves_the_older_states_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, epochs=2)
    contents = [path.read_bytes() for path in sorted(tmp_path.glob("*.pt"))]

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BundleError, match=r"state_iteration=9.pt: cannot be written \(No space left on device\); free"):
        save(tmp_path, epochs=3, resumed=6)
    assert [path.read_bytes() for path in sorted(tmp_path.glob("*.pt"))] == contents


def test_auto_takes_the_newest_by_its_number(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_state("auto", output_dir=str(tmp_path)) is None
    assert "training starts from the beginning" in capsys.readouterr().out
    save(tmp_path, epochs=4)  # 9 and 12: by name, 9 would be the last
    assert find_state("auto", output_dir=str(tmp_path)) == str(tmp_path / "state_iteration=12.pt")
    assert find_state(None, output_dir=str(tmp_path)) is None


def damaged(content: bytes, kind: str) -> bytes:
    middle = content.index(b"\x00\x00\x80\x40" * 8)  # in the tensor's own data: 4.0, 4.0, ...
    return {
        "cut off": content[: len(content) // 2],
        "empty": b"",
        "one bit flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "zeros": bytes(len(content)),
    }[kind]


@pytest.mark.parametrize("kind", ["cut off", "empty", "one bit flipped", "zeros"])
def test_a_damaged_newest_one_falls_back_to_the_one_before(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, epochs=4)
    older, newest = tmp_path / "state_iteration=9.pt", tmp_path / "state_iteration=12.pt"
    newest.write_bytes(damaged(newest.read_bytes(), kind))
    with caplog.at_level(logging.WARNING):
        assert find_state("auto", output_dir=str(tmp_path)) == str(older)
    assert str(newest) in caplog.text
    with pytest.raises(BundleError, match=r"state_iteration=12\.pt: damaged"):
        find_state(str(newest), output_dir=str(tmp_path))
    older.write_bytes(b"")
    with pytest.raises(BundleError, match="every saved state is damaged"):
        find_state("auto", output_dir=str(tmp_path))


def test_a_state_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"resume is nowhere.pt: no such file; allowed are auto and"):
        find_state("nowhere.pt", output_dir=str(tmp_path))
