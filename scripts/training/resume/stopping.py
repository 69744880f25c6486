# SPDX-License-Identifier: Apache-2.0

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
    """Handler of the trainer: on SIGTERM or Ctrl-C, finishes the iteration, saves the run's state and ends the program.

    A Ctrl-C after that ends it at once. What the signals did before is restored when the training ends.

    Args:
        saver: saves the state, then and at its own times; it is attached with this handler.
    """

    def __init__(self, saver: StateSaver) -> None:
        self.saver = saver
        self.received: int | None = None
        self._former: dict[int, Any] = {}

    def attach(self, engine: Engine) -> None:
        """Hooks the handler and its saver; attach it last, behind all that belongs to an iteration or an epoch."""
        self.saver.attach(engine)
        engine.add_event_handler(Events.STARTED, self._listen)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._after_iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._stop_if_asked)
        engine.add_event_handler(Events.COMPLETED, self._restore)
        engine.add_event_handler(Events.EXCEPTION_RAISED, self._leave)

    def _listen(self) -> None:
        self.received = None
        if threading.current_thread() is threading.main_thread():  # elsewhere, as in a server, Python allows none
            self._former = {number: signal.signal(number, self._receive) for number in SIGNALS}

    def _receive(self, number: int, frame: Any) -> None:
        if multiprocessing.parent_process() is not None or self.received is not None:
            return  # a loader's worker goes on until its program ends, and schedulers send SIGTERM more than once
        self.received = number
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        name = signal.Signals(number).name
        print(f"\n{name}: finishing the iteration; Ctrl-C once more to stop at once", file=sys.stderr)

    def _after_iteration(self, engine: Engine) -> None:
        state: Any = engine.state
        # the gradients of a step that is not yet taken are in no state, nor is that an epoch's end is still to come
        if STEP_TAKEN in state.output and state.iteration % state.epoch_length:
            self._stop_if_asked(engine)

    def _stop_if_asked(self, engine: Engine) -> None:
        if all_processes_agree(self.received is None):
            return
        self.saver(engine)
        if self.saver.is_main_process:
            saved = f"stopped and saved after iteration {engine.state.iteration}"
            print(f"{saved}; the same command with --resume auto goes on", file=sys.stderr)
        raise SystemExit(128 + (self.received or signal.SIGTERM))

    def _restore(self) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        self._former = {}

    def _leave(self, error: BaseException) -> None:
        self._restore()
        raise error
