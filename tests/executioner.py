# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events


class Executioner:
    """Handler that sends this process a signal in the middle of a training, a validation or the writing of a file.

    Args:
        validator: of the trainer that it is attached to.
        phase: "training", "validation" or "writing"; in which one the signal comes.
        count: of iterations of the phase (or of files) until then.
        delay: from there, in seconds.
        number: of the signal.
        record: a file that then gets the phase.
    """

    def __init__(
        self, validator: Engine, *, phase: str, count: int, delay: float, record: str, number: int = signal.SIGKILL
    ) -> None:
        self.validator = validator
        self.phase = phase
        self.left = count
        self.delay = delay
        self.record = Path(record)
        self.number = number

    def attach(self, engine: Engine) -> None:
        """Hooks the countdown."""
        if self.phase == "training":
            engine.add_event_handler(Events.ITERATION_STARTED, self.count_down)
        elif self.phase == "validation":
            self.validator.add_event_handler(Events.ITERATION_STARTED, self.count_down)
        else:
            sync = os.fsync

            def counted(descriptor: Any) -> None:
                self.count_down()
                sync(descriptor)

            os.fsync = counted  # type: ignore[assignment]

    def count_down(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            threading.Timer(self.delay, self._strike).start()

    def _strike(self) -> None:
        with open(self.record, "a") as file:
            file.write(f"{self.phase}\n")
        os.kill(os.getpid(), self.number)
