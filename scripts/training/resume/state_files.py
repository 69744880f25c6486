# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events

from scripts.base.atomic_files import is_intact_archive, remove_unfinished, to_bytes, write_atomically
from scripts.base.errors import BundleError
from scripts.training.resume.run_state import RunState

logger = logging.getLogger(__name__)

AUTO = "auto"
_STATE = re.compile(r"state_iteration=(\d+)\.pt")
KEPT = 2  # states of a run, so that there is one before a newest one that is damaged


class StateSaver:
    """Handler of the trainer: saves the whole state of the run, and keeps the last two.

    A state is written beside and renamed, so that a run that is killed, or a disk that is full, leaves the older ones
    whole. States from which the run does not go on, as of another one, are moved to `previous/` when it starts.
    (Ignite's `Checkpoint` forgets the states of before a run was resumed, and none is deleted then.)

    Args:
        folder: where `state_iteration=N.pt` goes.
        saved: what has a state dict, by name.
        interval: epochs between two states.
        is_main_process: whether this process is the one of several that saves.
    """

    def __init__(self, folder: str, *, saved: Mapping[str, Any], interval: int, is_main_process: bool = True) -> None:
        self.folder = Path(folder)
        self.saved = saved
        self.interval = interval
        self.is_main_process = is_main_process

    def attach(self, engine: Engine) -> None:
        """Hooks the handler behind every `interval`th epoch; attach it after what loads or changes the state."""
        for item in self.saved.values():
            if isinstance(item, RunState):
                item.attach(engine)
        if self.is_main_process:
            engine.add_event_handler(Events.STARTED, self._tidy_up)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.interval), self)

    def __call__(self, engine: Engine) -> None:
        """Saves the state of now.

        Raises:
            BundleError: when it cannot be written.
        """
        if not self.is_main_process:
            return
        state = {name: item.state_dict() for name, item in self.saved.items()}
        write_atomically(self.folder / f"state_iteration={engine.state.iteration}.pt", to_bytes(state))
        for old in states_in(self.folder)[KEPT:]:
            old.unlink()

    def _tidy_up(self, engine: Engine) -> None:
        remove_unfinished(self.folder)
        for path in states_in(self.folder):
            if _iteration(path) > engine.state.iteration:
                previous = self.folder / "previous"
                previous.mkdir(exist_ok=True)
                os.replace(path, previous / path.name)


def find_state(resume: str | None, *, output_dir: str) -> str | None:
    """Gives the state from which a run goes on, or None where it begins anew.

    Args:
        resume: None, a state's path, or "auto" for the newest whole one in `output_dir`, if there is any.
        output_dir: of the run.

    Raises:
        BundleError: when there is no such file, it is damaged, or "auto" finds damaged ones only.
    """
    if resume is None:
        return None
    if resume != AUTO:
        if not Path(resume).is_file():
            raise BundleError(
                f"resume is {resume}: no such file; allowed are {AUTO}, and the states of a run, state_iteration=N.pt."
            )
        if not is_intact_archive(Path(resume)):
            raise BundleError(f"resume is {resume}: damaged, or no state of a run; give another, or {AUTO}.")
        return resume
    states = states_in(Path(output_dir))
    for path in states:
        if is_intact_archive(path):
            print(f"resuming from {path}")
            return str(path)
        logger.warning(f"{path} is damaged and left out; taking the one before.")
    if states:
        raise BundleError(f"output_dir {output_dir}: every saved state is damaged; remove them to begin anew.")
    print(f"no saved state in {output_dir}: training begins anew")
    return None


def states_in(folder: Path) -> list[Path]:
    """Gives the states in a folder, the newest first."""
    return sorted((path for path in folder.glob("state_*.pt") if _STATE.fullmatch(path.name)), key=_iteration)[::-1]


def _iteration(path: Path) -> int:
    match = _STATE.fullmatch(path.name)
    return int(match[1]) if match else -1
