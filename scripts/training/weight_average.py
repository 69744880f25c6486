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


class WeightAverage:
    """The average of a network's weights over the steps, part of a run's state.

    After step t, starting with the weights of step 1, a := a + max(m, 1 / t) (w - a): the mean of all steps until 1 / t
    falls below the momentum m, an exponential moving average from then on.

    Args:
        network: network whose weights are averaged.
        momentum: m; 0 averages nothing.
    """

    def __init__(self, network: nn.Module, *, momentum: float) -> None:
        self.network = network
        self.momentum = momentum
        self.model = AveragedModel(network, avg_fn=self._mix) if momentum else None

    def update(self) -> None:
        """Adds the network's weights to the average."""
        if self.model is not None:
            self.model.update_parameters(self.network)

    @torch.no_grad()
    def exchange(self) -> None:
        """Exchanges the network's weights and the average, in place, for optimisers hold the network's tensors."""
        if self.model is None or self.model.n_averaged == 0:
            return
        for weight, average in zip(self.network.parameters(), self.model.module.parameters(), strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    def state_dict(self) -> dict[str, Any]:
        """Returns the average and the number of steps in it; empty without one."""
        return {} if self.model is None else self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a saved state; a run that did not average before begins now."""
        if self.model is not None and state:
            self.model.load_state_dict(state)

    def _mix(self, average: torch.Tensor, weight: torch.Tensor, steps: torch.Tensor | int) -> torch.Tensor:
        return average.lerp(weight, max(self.momentum, 1 / (int(steps) + 1)))


class WeightAverageHandler:
    """Averages the weights step by step, and gives the network the average while the validator runs.

    What is saved during a validation, such as the best weights, is the average too.

    Args:
        average: the average of the trained network's weights.
        validator: evaluator of that network.
    """

    def __init__(self, average: WeightAverage, *, validator: Evaluator) -> None:
        self.average = average
        self.validator = validator

    def attach(self, engine: Trainer) -> None:
        """Registers the handler on each step and on both ends of each validation."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        self.validator.add_event_handler(Events.STARTED, self.average.exchange)
        self.validator.add_event_handler(Events.COMPLETED, self.average.exchange)

    def __call__(self, engine: Trainer) -> None:
        """Adds the weights to the average if the iteration ended with a step."""
        if engine.state.output.get(STEP_TAKEN):
            self.average.update()
