# SPDX-License-Identifier: Apache-2.0
"""Saving of the best weights during a training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ignite.engine import Events
from monai.engines import AdversarialTrainer, Evaluator
from torch import nn

from scripts.base.atomic_files import remove_unfinished, to_bytes
from scripts.base.results import is_result, set_aside, write_result


class BestWeightsHandler:
    """Saves the networks' state dicts when the validation metric is the best so far.

    A file of an earlier run is renamed to `<name>.previous.pt` before the first save, or to `<name>.previous-2.pt` and
    so on where that is of somebody else, as the shipped weights. Files are written atomically.

    Args:
        folder: folder of the files (`ckpt_dir`).
        networks: networks to save, by file name without `.pt`.
    """

    def __init__(self, folder: str, *, networks: Mapping[str, nn.Module]) -> None:
        self.folder = Path(folder)
        self.networks = networks
        self.kept_previous = False

    def attach(self, engine: Evaluator) -> None:
        """Registers the handler on the end of each validation, after MONAI has compared the key metric."""
        engine.add_event_handler(Events.STARTED, self._prepare_folder)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Evaluator) -> None:
        """Saves the networks if this validation is the best so far."""
        if engine.state.best_metric_epoch != engine.state.epoch:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, network in self.networks.items():
            path = self.folder / f"{name}.pt"
            if path.exists() and not (self.kept_previous and is_result(path)):
                set_aside(path, f"{name}.previous.pt")
            write_result(path, to_bytes(network.state_dict()))
        self.kept_previous = True

    def _prepare_folder(self, engine: Evaluator) -> None:
        # a resumed run with a best metric finds its own weights there, which need not be kept
        self.kept_previous = engine.state.best_metric_epoch != -1
        remove_unfinished(self.folder)


class RestartBestHandler:
    """Resets the validator's best metric at each epoch until the adversaries have started.

    The best weights then never come from the time before, when the critic had learnt nothing. Until the adversaries
    start, every validation counts as the best, so that the weights of the last one are kept.

    Args:
        validator: evaluator that holds the best metric.
        until: iteration at which the adversaries start.
    """

    def __init__(self, validator: Evaluator, *, until: int) -> None:
        self.validator = validator
        self.until = until

    def attach(self, engine: AdversarialTrainer) -> None:
        """Registers the handler on the start of each epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: AdversarialTrainer) -> None:
        """Resets the best metric if the adversaries have not started."""
        if engine.state.iteration <= self.until:
            self.validator.state.best_metric = -1  # MONAI's initial value, below every mean Dice
