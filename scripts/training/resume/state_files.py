# SPDX-License-Identifier: Apache-2.0
"""The files that hold the state of a run: writing, finding and cleaning up."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from scripts.base.atomic_files import is_intact_archive, remove_unfinished, to_bytes
from scripts.base.errors import BundleError
from scripts.base.results import is_result, set_aside, write_result
from scripts.training.resume.run_state import RunState

logger = logging.getLogger(__name__)

AUTO = "auto"
_STATE = re.compile(r"state_iteration=(\d+)\.pt")
KEPT = 2  # number of states kept, so that an older one is left if the newest one is damaged


class StateSaver:
    """Saves the complete state of the run every few epochs and keeps the last two files that it wrote.

    Files are written atomically, so that a killed run or a full disk leaves the older states intact. When a run starts,
    states newer than its own start, such as those of another run, are moved to `previous/`. (Ignite's `Checkpoint`
    forgets the files that it wrote before a run was resumed, so that they are never deleted.)

    Args:
        folder: folder of the files `state_iteration=N.pt`.
        saved: objects with a state dict, by name.
        interval: number of epochs between two states.
        is_main_process: whether this process, of several, saves the states.
    """

    def __init__(self, folder: str, *, saved: Mapping[str, Any], interval: int, is_main_process: bool = True) -> None:
        self.folder = Path(folder)
        self.saved = saved
        self.interval = interval
        self.is_main_process = is_main_process

    def attach(self, engine: Engine) -> None:
        """Registers the handler on every `interval`th epoch's end; attach it after handlers that change the state."""
        for item in self.saved.values():
            if isinstance(item, RunState):
                item.attach(engine)
        if self.is_main_process:
            engine.add_event_handler(Events.STARTED, self._tidy_up)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self)

    def __call__(self, engine: Engine) -> None:
        """Saves the current state.

        Raises:
            BundleError: if it cannot be written.
        """
        if not self.is_main_process:
            return
        state = {name: item.state_dict() for name, item in self.saved.items()}
        path = self.folder / f"state_iteration={engine.state.iteration}.pt"
        if path.exists() and not is_result(path):
            set_aside(path, path.name, folder=self._previous())
        write_result(path, to_bytes(state))
        for old in filter(is_result, states_in(self.folder)[KEPT:]):
            old.unlink()

    def _tidy_up(self, engine: Engine) -> None:
        remove_unfinished(self.folder)
        for path in states_in(self.folder):
            if _iteration(path) > engine.state.iteration:
                set_aside(path, path.name, folder=self._previous())

    def _previous(self) -> Path:
        previous = self.folder / "previous"
        previous.mkdir(exist_ok=True)
        return previous


def find_state(resume: str | None, *, output_dir: str) -> str | None:
    """Returns the path of the state from which a run continues, or None if it starts from the beginning.

    Args:
        resume: None, the path of a state, or "auto" for the newest intact state in `output_dir`, if there is one.
        output_dir: output folder of the run.

    Raises:
        BundleError: if there is no such file, it is damaged, or "auto" finds only damaged states.
    """
    if resume is None:
        return None
    if resume != AUTO:
        if not Path(resume).is_file():
            raise BundleError(
                f"resume is {resume}: no such file; allowed are {AUTO} and the path of a state, state_iteration=N.pt."
            )
        if not is_intact_archive(Path(resume)):
            raise BundleError(f"resume is {resume}: damaged, or not the state of a run; give another one, or {AUTO}.")
        return resume
    states = states_in(Path(output_dir))
    for path in states:
        if is_intact_archive(path):
            print(f"resuming from {path}")
            return str(path)
        logger.warning(f"{path} is damaged; trying the state before it.")
    if states:
        raise BundleError(
            f"output_dir {output_dir}: every saved state is damaged; remove them to start from the beginning."
        )
    print(f"no saved state in {output_dir}: training starts from the beginning")
    return None


def states_in(folder: Path) -> list[Path]:
    """Returns the states in a folder, the newest first."""
    return sorted((path for path in folder.glob("state_*.pt") if _STATE.fullmatch(path.name)), key=_iteration)[::-1]


def _iteration(path: Path) -> int:
    match = _STATE.fullmatch(path.name)
    return int(match[1]) if match else -1
