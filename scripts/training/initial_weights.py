# SPDX-License-Identifier: Apache-2.0
"""Begins a training with weights of an earlier one."""

from __future__ import annotations

from ignite.engine import Engine, Events
from torch import nn

from scripts.base.weights import load_weights


class InitialWeightsHandler:
    """Loads the segmenter's weights when a training starts; a state from which a run resumes comes after it.

    MONAI's `CheckpointLoader` would end in a traceback for weights that are missing or do not fit.

    Args:
        network: the segmenter.
        path: plain state dict of the same architecture, or None to keep the random weights.
    """

    def __init__(self, network: nn.Module, *, path: str | None) -> None:
        self.network = network
        self.path = path

    def attach(self, engine: Engine) -> None:
        """Registers the handler on the start."""
        if self.path is not None:
            engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Loads the weights.

        Raises:
            BundleError: see `scripts.base.weights.load_weights`.
        """
        load_weights(self.network, str(self.path))
