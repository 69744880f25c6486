# SPDX-License-Identifier: Apache-2.0
"""Seeding of each epoch, which makes runs repeatable and resumable."""

from __future__ import annotations

import numpy as np
import torch
from ignite import distributed as idist
from ignite.engine import Engine, Events
from monai.data import set_rnd
from monai.engines import Trainer
from torch.utils.data import Dataset


class EpochSeedHandler:
    """Seeds each epoch with a number that depends on seed and epoch only, so that a resumed run draws the same.

    Args:
        dataset: dataset whose random transforms are seeded.
        seed: seed of the run.
    """

    def __init__(self, dataset: Dataset, *, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def attach(self, engine: Trainer) -> None:
        """Registers the handler on the start of each epoch."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seeds PyTorch, which shuffles the cases, and the random transforms, differently in each process."""
        # trailing zeros do not change the seed: process 0 draws what a single process draws
        words = (self.seed, engine.state.epoch, idist.get_rank())
        seed = int(np.random.SeedSequence(words).generate_state(1)[0])
        torch.manual_seed(seed)
        set_rnd(self.dataset, seed)
