# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ignite.engine import Events
from monai.engines import AdversarialTrainer, Evaluator
from torch import nn

from scripts.base.atomic_files import remove_unfinished, to_bytes, write_atomically


class BestWeightsHandler:
    """Keeps the weights of the epoch with the best validation metric, each network's as a plain state dict.

    A file that a run finds at its place is kept as `<name>.previous.pt`; a run that is cut off leaves whole ones.

    Args:
        folder: where the files go, `ckpt_dir`.
        networks: what to save, by the name of the file without `.pt`.
    """

    def __init__(self, folder: str, *, networks: Mapping[str, nn.Module]) -> None:
        self.folder = Path(folder)
        self.networks = networks
        self.kept_previous = False

    def attach(self, engine: Evaluator) -> None:
        """Hooks the handler behind the validator's comparison of its key metric."""
        engine.add_event_handler(Events.STARTED, self._look_around)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Evaluator) -> None:
        """Saves the networks if this validation was the best so far."""
        if engine.state.best_metric_epoch != engine.state.epoch:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, network in self.networks.items():
            path = self.folder / f"{name}.pt"
            if path.exists() and not self.kept_previous:
                os.replace(path, path.with_suffix(".previous.pt"))
            write_atomically(path, to_bytes(network.state_dict()))
        self.kept_previous = True

    def _look_around(self, engine: Evaluator) -> None:
        # a resumed run finds its own best weights there, not those of another run
        self.kept_previous = engine.state.best_metric_epoch != -1
        remove_unfinished(self.folder)


class RestartBestHandler:
    """Handler of the trainer: forgets the best metric until an iteration, that at which the adversaries begin.

    So the best weights are never those of before, with a critic that has learnt nothing, and until then the weights of
    the last validation are kept.

    Args:
        validator: which knows the best metric.
        until: the iteration.
    """

    def __init__(self, validator: Evaluator, *, until: int) -> None:
        self.validator = validator
        self.until = until

    def attach(self, engine: AdversarialTrainer) -> None:
        """Hooks the handler before each epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: AdversarialTrainer) -> None:
        """Forgets the best metric if the adversaries have not begun."""
        if engine.state.iteration <= self.until:
            self.validator.state.best_metric = -1  # MONAI's own start, below every mean Dice
