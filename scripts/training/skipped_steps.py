# SPDX-License-Identifier: Apache-2.0
"""Counting of the steps that were skipped because a loss or gradient was not finite."""

from __future__ import annotations

import logging
from typing import Any

from ignite.engine import Events
from monai.engines import Trainer

from scripts.base.distributed import gather_from_processes
from scripts.base.errors import BundleError
from scripts.method.reciprocal_step import STEP_TAKEN
from scripts.training.progress import SKIPPED_STEPS, loss_terms

logger = logging.getLogger(__name__)


class SkippedStepHandler:
    """Counts and logs the steps that `ReciprocalStep` skipped because a loss or gradient was not finite.

    A single skipped step loses only its batches. Several in a row stop the run; the weights and saved states are those
    from before these steps.

    Args:
        max_skipped: number of skipped steps in a row that stops the run.
    """

    def __init__(self, *, max_skipped: int) -> None:
        self.max_skipped = max_skipped
        self.skipped = 0
        self.in_a_row = 0
        self._cases: list[str] = []

    def attach(self, engine: Trainer) -> None:
        """Registers the handler on the end of each iteration; attach it before handlers that show the loss terms."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Trainer) -> None:
        """Counts the step, equally in all processes.

        Raises:
            BundleError: after `max_skipped` skipped steps in a row, naming the loss terms and cases of the last one.
        """
        output: dict[str, Any] = engine.state.output
        self._cases += engine.state.batch.get("case", ["unnamed"])
        if self.skipped:
            output[SKIPPED_STEPS] = self.skipped
        taken = output.get(STEP_TAKEN)
        if taken is None:
            return
        if taken:
            self.in_a_row = 0
        else:
            self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
            output[SKIPPED_STEPS] = self.skipped
            self._report(engine, gather_from_processes(self._cases))
        self._cases.clear()

    def _report(self, engine: Trainer, cases: list[str]) -> None:
        terms = ", ".join(f"{name} {value:.3g}" for name, value in loss_terms(engine.state.output).items())
        found = f"loss or gradient not finite at iteration {engine.state.iteration} ({terms}), cases {', '.join(cases)}"
        if self.in_a_row >= self.max_skipped:
            raise BundleError(
                f"{found}: {self.in_a_row} steps in a row were skipped, and training stops; weights and saved states "
                f"are those from before. Look at these cases, lower --learning_rate or the weight of that term; "
                f"with --amp_dtype float16, try bfloat16."
            )
        logger.warning(f"step skipped, {found}; {self.skipped} so far, {self.in_a_row} in a row")
