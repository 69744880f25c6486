# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from ignite.engine import Engine, Events

from scripts.method.reciprocal_step import STEP_TAKEN
from scripts.training.resume.state_files import StateSaver
from scripts.training.resume.stopping import StopHandler
from tests.outputs import results_in

BATCHES = 4


def run(
    folder: Path, *, at: int, accumulate: int = 1, epochs: int = 3, event: Events = Events.ITERATION_STARTED
) -> int:
    """Runs an engine to which SIGTERM is sent at the `at`th of an event, and gives the iteration of its end."""
    engine = Engine(lambda engine, _: {STEP_TAKEN: True} if engine.state.iteration % accumulate == 0 else {})
    engine.add_event_handler(Events.ITERATION_STARTED(once=at), lambda: os.kill(os.getpid(), signal.SIGTERM))
    StopHandler(StateSaver(str(folder), saved={}, interval=9)).attach(engine)
    with pytest.raises(SystemExit) as stopped:
        engine.run(range(BATCHES), max_epochs=3)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert results_in(folder) == {f"state_iteration={engine.state.iteration}.pt"}
    return engine.state.iteration


def test_it_stops_after_the_iteration_and_says_how_to_go_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert run(tmp_path, at=6) == 6
    printed = capsys.readouterr().err
    assert "SIGTERM: finishing the iteration; press Ctrl-C again to stop at once" in printed
    assert "--resume auto" in printed
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_step_of_several_batches_is_finished(tmp_path: Path) -> None:
    assert run(tmp_path, at=5, accumulate=3) == 6


def test_what_belongs_to_the_end_of_an_epoch_is_finished(tmp_path: Path) -> None:
    ended: list[Any] = []
    engine = Engine(lambda engine, _: {STEP_TAKEN: True})
    engine.add_event_handler(Events.ITERATION_STARTED(once=4), lambda: os.kill(os.getpid(), signal.SIGTERM))
    engine.add_event_handler(Events.EPOCH_COMPLETED, ended.append)
    StopHandler(StateSaver(str(tmp_path), saved={}, interval=9)).attach(engine)
    with pytest.raises(SystemExit):
        engine.run(range(BATCHES), max_epochs=2)
    assert len(ended) == 1


def test_a_second_ctrl_c_is_the_systems_and_a_second_sigterm_is_nothing(tmp_path: Path) -> None:
    engine = Engine(lambda engine, _: {})
    seen = []

    @engine.on(Events.ITERATION_STARTED(once=2))
    def strike() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        seen.append(signal.getsignal(signal.SIGINT))

    StopHandler(StateSaver(str(tmp_path), saved={}, interval=9)).attach(engine)
    with pytest.raises(SystemExit):
        engine.run(range(BATCHES), max_epochs=2)
    assert seen == [signal.SIG_DFL]


def test_a_training_that_ends_or_fails_gives_the_signals_back_and_a_thread_takes_none(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def train(fails: bool) -> None:
        engine = Engine(lambda engine, _: {STEP_TAKEN: 1 // (not fails)})
        StopHandler(StateSaver(str(tmp_path), saved={}, interval=9)).attach(engine)
        engine.run(range(BATCHES))

    train(fails=False)
    with pytest.raises(ZeroDivisionError):
        train(fails=True)
    thread = threading.Thread(target=train, args=(False,))
    thread.start()
    thread.join()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
