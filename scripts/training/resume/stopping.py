# SPDX-License-Identifier: Apache-2.0
"""Stopping of a training by SIGTERM or Ctrl-C, with its state saved."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from typing import Any

from ignite.engine import Engine, Events

from scripts.base.distributed import all_processes_agree
from scripts.method.reciprocal_step import STEP_TAKEN
from scripts.training.resume.state_files import StateSaver

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopHandler:
    """On SIGTERM or Ctrl-C, finishes the iteration, saves the state of the run and ends the program.

    A second Ctrl-C ends the program at once. The former signal handlers are restored when the training ends.

    Args:
        saver: saver of the state; this handler attaches it.
    """

    def __init__(self, saver: StateSaver) -> None:
        self.saver = saver
        self.received: int | None = None
        self._former: dict[int, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Registers the handler and its saver; attach it last, after all handlers of iterations and epochs."""
        self.saver.attach(engine)
        engine.add_event_handler(Events.STARTED, self._listen)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._stop_if_asked)
        engine.add_event_handler(Events.COMPLETED, self._restore)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._leave)

    def _listen(self) -> None:
        self.received = None
        if threading.current_thread() is threading.main_thread():  # Python allows signal handlers in no other
            self._former = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def _receive(self, number: int, frame: Any) -> None:
        if multiprocessing.parent_process() is not None or self.received is not None:
            return  # workers of data loaders go on until their program ends; schedulers send SIGTERM more than once
        self.received = number
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        name = signal.Signals(number).name
        print(f"\n{name}: finishing the iteration; press Ctrl-C again to stop at once", file=sys.stderr)

    def _after_iteration(self, engine: Engine) -> None:
        state: Any = engine.state
        # a state holds neither accumulated gradients nor that the handlers of an epoch's end have yet to run
        if STEP_TAKEN in state.output and state.iteration % state.epoch_length:
            self._stop_if_asked(engine)

    def _stop_if_asked(self, engine: Engine) -> None:
        if all_processes_agree(self.received is None):
            return
        self.saver(engine)
        if self.saver.is_main_process:
            saved = f"stopped and saved after iteration {engine.state.iteration}"
            print(f"{saved}; the same command with --resume auto continues", file=sys.stderr)
        raise SystemExit(128 + (self.received or signal.SIGTERM))

    def _restore(self) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        self._former = {}

    def _leave(self, error: BaseException) -> None:
        self._restore()
        raise error
