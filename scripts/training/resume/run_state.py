# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from monai.engines import AdversarialTrainer, Evaluator

from scripts.base.errors import BundleError
from scripts.training.resume.loader import ResumableDataLoader


class RunState:
    """What a resumed run needs beside networks, optimisers and schedulers, as a state dict that loads `weights_only`.

    Epoch, iteration, gradient scalers, the best metric so far and the random states. It is an item of the dictionary
    that `StateSaver` and MONAI's `CheckpointLoader` get. `StateSaver` attaches it to the trainer.

    Args:
        evaluator: the validator, which knows the best metric.
        loader: of the training; where a run is resumed within an epoch, it skips what that epoch has seen.
    """

    def __init__(self, evaluator: Evaluator, *, loader: ResumableDataLoader | None = None) -> None:
        self.evaluator = evaluator
        self.loader = loader
        self.trainer: AdversarialTrainer | None = None

    def attach(self, engine: Any) -> None:
        """Remembers the trainer whose state this is."""
        self.trainer = engine

    def state_dict(self) -> dict[str, Any]:
        """Gives the state as numbers, strings and tensors."""
        trainer, best = self._trainer.state, self.evaluator.state
        return {
            "epoch": trainer.epoch,
            "iteration": trainer.iteration,
            "epoch_length": trainer.epoch_length,
            "best_metric": float(best.best_metric),
            "best_metric_epoch": best.best_metric_epoch,
            "scalers": {name: scaler.state_dict() for name, scaler in self._scalers.items()},
            "random": _random_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts a saved state back; the trainer goes on with the next iteration.

        Raises:
            BundleError: when the state is from within an epoch, and of other data or batches.
        """
        trainer, best = self._trainer.state, self.evaluator.state
        trainer.epoch, trainer.iteration = state["epoch"], state["iteration"]
        if seen := state["iteration"] % state["epoch_length"]:
            if self.loader is None or state["epoch_length"] != trainer.epoch_length:
                raise BundleError(
                    f"the state is from within an epoch of {state['epoch_length']} iterations, but now an epoch has "
                    f"{trainer.epoch_length}; resume with the same data and batch_size."
                )
            trainer.epoch -= 1  # which the engine begins once more
            self.loader.skip = seen
        best.best_metric, best.best_metric_epoch = state["best_metric"], state["best_metric_epoch"]
        for name, scaler in self._scalers.items():
            scaler.load_state_dict(state["scalers"][name])
        _restore_random_state(state["random"])

    @property
    def _trainer(self) -> AdversarialTrainer:
        if self.trainer is None:
            raise RuntimeError("RunState is attached to no trainer: attach its StateSaver before the trainer runs.")
        return self.trainer

    @property
    def _scalers(self) -> dict[str, torch.amp.GradScaler]:
        state = self._trainer.state
        return {name: s for name in ("g_scaler", "d_scaler") if (s := getattr(state, name)) is not None}


def _random_state() -> dict[str, Any]:
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    version, internal, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
        "numpy": [name, torch.from_numpy(np.asarray(keys, dtype=np.int64)), position, has_gauss, cached],
        "python": [version, list(internal), gauss],
    }


def _restore_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["torch"].cpu())
    torch.cuda.set_rng_state_all([s.cpu() for s in state["cuda"]])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, cached))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
