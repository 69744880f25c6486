# SPDX-License-Identifier: Apache-2.0
"""A moving average of the segmenter's weights, which is validated and saved in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import Evaluator, Trainer
from torch import nn
from torch.optim.swa_utils import AveragedModel

from scripts.method.reciprocal_step import STEP_TAKEN


class WeightAverageHandler:
    """Averages the weights over the steps; while the validator runs, the network has the average.

    After step t, starting with the weights of step 1, a := a + max(m, 1 / t) (w - a): the mean of all steps until 1 / t
    falls below the momentum m, an exponential moving average from then on. What is saved during a validation, such as
    the best weights, is the average too. The average is part of the run's state.

    Args:
        network: network whose weights are averaged.
        momentum: m; 0 averages nothing.
        validator: evaluator of the network.
    """

    def __init__(self, network: nn.Module, *, momentum: float, validator: Evaluator) -> None:
        self.network = network
        self.momentum = momentum
        self.validator = validator
        self.average = AveragedModel(network, avg_fn=self._mix) if momentum else None

    def attach(self, engine: Trainer) -> None:
        """Registers the handler on each step and on both ends of each validation."""
        if self.average is not None:
            engine.add_event_handler(Events.ITERATION_COMPLETED, self)
            self.validator.add_event_handler(Events.STARTED, self._exchange)
            self.validator.add_event_handler(Events.COMPLETED, self._exchange)

    def __call__(self, engine: Trainer) -> None:
        """Adds the weights to the average if the iteration ended with a step."""
        if self.average is not None and engine.state.output.get(STEP_TAKEN):
            self.average.update_parameters(self.network)

    def state_dict(self) -> dict[str, Any]:
        """Returns the average and the number of steps in it; empty without one."""
        return {} if self.average is None else self.average.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a saved state; a run that did not average before begins now."""
        if self.average is not None and state:
            self.average.load_state_dict(state)

    def _mix(self, average: torch.Tensor, weight: torch.Tensor, steps: torch.Tensor | int) -> torch.Tensor:
        return average.lerp(weight, max(self.momentum, 1 / (int(steps) + 1)))

    @torch.no_grad()
    def _exchange(self) -> None:
        """Exchanges the network's weights and the average, in place, for optimisers hold the network's tensors."""
        if self.average is None or self.average.n_averaged == 0:
            return
        for weight, average in zip(self.network.parameters(), self.average.module.parameters(), strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
