# SPDX-License-Identifier: Apache-2.0
"""Counting of steps that were skipped because a loss or gradient was not finite."""

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
    """Counts the steps that `ReciprocalStep` left out because a loss or gradient was not finite, and says each.

    A single one costs nothing but its batches. After several in a row it stops the run: weights and saved states are
    those of before.

    Args:
        max_skipped: how many in a row stop the run.
    """

    def __init__(self, *, max_skipped: int) -> None:
        self.max_skipped = max_skipped
        self.skipped = 0
        self.in_a_row = 0
        self._cases: list[str] = []

    def attach(self, engine: Trainer) -> None:
        """Hooks the count behind each iteration; attach it before what shows the loss terms."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Trainer) -> None:
        """Counts, in all processes alike.

        Raises:
            BundleError: naming the loss terms and the cases of the step, when it is one too many.
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
                f"are those of before. Look at these cases, lower --learning_rate or the weight of that term; "
                f"with --amp_dtype float16, try bfloat16."
            )
        logger.warning(f"step skipped, {found}; {self.skipped} so far, {self.in_a_row} in a row")
