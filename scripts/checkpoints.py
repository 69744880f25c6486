# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import copy
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from ignite.engine import Events
from monai.engines import AdversarialTrainer, Evaluator
from torch import nn

from scripts.errors import BundleError
from scripts.files import is_whole_archive, remove_unfinished, to_bytes, write_whole


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
            write_whole(path, to_bytes(network.state_dict()))
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


def load_weights(network: nn.Module, path: str) -> nn.Module:
    """Loads a plain state dict into a network.

    Returns:
        The network.

    Raises:
        BundleError: when there is no such file, it is no checkpoint, or it is of another network or width.
    """
    if not os.path.isfile(path):
        raise BundleError(f"no weights at {path}: train first, or name their folder by --ckpt_dir.")
    try:
        if not is_whole_archive(path):
            raise ValueError("its checksums differ")
        weights = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # damaged bytes make pickle raise about anything
        raise BundleError(
            f"{path} is no checkpoint, or a damaged one ({type(error).__name__}): copy it again."
        ) from error
    own = network.state_dict()
    if own.keys() != weights.keys():
        names = ", ".join(sorted(own.keys() ^ weights.keys())[:3])
        raise BundleError(f"{path} is of another architecture than the config's network; they differ in {names} ...")
    for name, tensor in own.items():
        if tensor.shape != weights[name].shape:
            raise BundleError(
                f"{path} is of another width: {name} has shape {tuple(weights[name].shape)} there and "
                f"{tuple(tensor.shape)} in the config's network; set --features (or --critic_features) to match."
            )
    network.load_state_dict(weights)
    return network


def load_copies(network: nn.Module, paths: Sequence[str]) -> list[nn.Module]:
    """Makes a copy of a network for each checkpoint, in eval mode and on the network's device; see `load_weights`."""
    return [load_weights(copy.deepcopy(network), path).eval() for path in paths]
