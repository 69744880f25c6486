# SPDX-License-Identifier: Apache-2.0
"""The state of a run besides its networks, optimisers and schedulers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from monai.engines import AdversarialTrainer, Evaluator

from scripts.base.errors import BundleError
from scripts.training.resume.loader import ResumableDataLoader


class RunState:
    """Epoch, iteration, gradient scalers and best metric, as a state dict that loads `weights_only`.

    It holds no random states: `EpochSeedHandler` seeds each epoch, and `ResumableDataLoader` repeats its draws.

    `StateSaver` and MONAI's `CheckpointLoader` receive it in their dictionaries, next to networks, optimisers and
    schedulers. `StateSaver` attaches it to the trainer.

    Args:
        evaluator: validator that holds the best metric.
        loader: training loader; if a run resumes within an epoch, it skips the batches that the epoch has seen.
    """

    def __init__(self, evaluator: Evaluator, *, loader: ResumableDataLoader | None = None) -> None:
        self.evaluator = evaluator
        self.loader = loader
        self.trainer: AdversarialTrainer | None = None

    def attach(self, engine: Any) -> None:
        """Stores the trainer whose state is saved and loaded."""
        self.trainer = engine

    def state_dict(self) -> dict[str, Any]:
        """Returns the state as numbers, strings and tensors."""
        trainer, best = self._trainer.state, self.evaluator.state
        return {
            "epoch": trainer.epoch,
            "iteration": trainer.iteration,
            "epoch_length": trainer.epoch_length,
            "best_metric": float(best.best_metric),
            "best_metric_epoch": best.best_metric_epoch,
            "scalers": {name: scaler.state_dict() for name, scaler in self._scalers.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a saved state, so that the trainer continues with the next iteration.

        Raises:
            BundleError: if the state is from within an epoch and its epochs have another number of iterations.
        """
        trainer, best = self._trainer.state, self.evaluator.state
        trainer.epoch, trainer.iteration = state["epoch"], state["iteration"]
        if seen := state["iteration"] % state["epoch_length"]:
            if self.loader is None or state["epoch_length"] != trainer.epoch_length:
                raise BundleError(
                    f"the state is from within an epoch of {state['epoch_length']} iterations, but an epoch now has "
                    f"{trainer.epoch_length}; resume with the same data and batch_size."
                )
            trainer.epoch -= 1  # the engine starts this epoch again
            self.loader.skip = seen
        best.best_metric, best.best_metric_epoch = state["best_metric"], state["best_metric_epoch"]
        for name, scaler in self._scalers.items():
            scaler.load_state_dict(state["scalers"][name])

    @property
    def _trainer(self) -> AdversarialTrainer:
        if self.trainer is None:
            raise RuntimeError("RunState has no trainer: attach its StateSaver before the trainer runs.")
        return self.trainer

    @property
    def _scalers(self) -> dict[str, torch.amp.GradScaler]:
        state = self._trainer.state
        return {name: s for name in ("g_scaler", "d_scaler") if (s := getattr(state, name)) is not None}
