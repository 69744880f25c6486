# SPDX-License-Identifier: Apache-2.0
"""Accumulation of gradients over batches and processes, and the optimiser step that follows."""

from __future__ import annotations

from typing import NamedTuple

import torch
from ignite import distributed as idist
from ignite.engine import State
from torch import nn
from torch.optim import Optimizer

from scripts.base.distributed import sum_over_processes


class AccumulationWindow(NamedTuple):
    """Position of a batch among the batches that share an optimiser step: `position` counts from 0 to `size` - 1."""

    size: int
    position: int

    @property
    def begins(self) -> bool:
        """Whether this is the first batch of the step."""
        return self.position == 0

    @property
    def ends(self) -> bool:
        """Whether this is the last batch, after which the optimiser steps."""
        return self.position == self.size - 1


def accumulation_window(state: State, accumulate: int) -> AccumulationWindow:
    """Returns the position of a trainer's iteration among the `accumulate` batches of an optimiser step.

    Every epoch starts a new window, and its last window may be shorter. So no gradient is pending between epochs, and
    a state that is saved there is complete.
    """
    assert state.epoch_length is not None
    done = (state.iteration - 1) % state.epoch_length
    position = done % accumulate
    return AccumulationWindow(size=min(accumulate, state.epoch_length - (done - position)), position=position)


def step(network: nn.Module, optimizer: Optimizer, *, scaler: torch.amp.GradScaler, batches: int = 1) -> bool:
    """Steps the optimiser with the gradient averaged over batches and processes, unless it is not finite.

    In float16 a gradient may overflow only because of its scale. The scaler then skips the step and halves the scale;
    this counts as a taken step as long as the scale is above 1.

    Args:
        network: network whose gradients are the sum over `batches` backward passes; every process must call this.
        optimizer: optimiser of the network's parameters.
        scaler: scaler of the backward passes.
        batches: number of backward passes.

    Returns:
        False if the gradient is not finite and nothing was done; the same in all processes.
    """
    average_gradients(network, batches=batches)
    if scaler.get_scale() <= 1 and not _gradients_are_finite(network):
        return False
    scaler.step(optimizer)
    scaler.update()
    return True


def average_gradients(network: nn.Module, *, batches: int = 1) -> None:
    """Divides the sum of gradients over `batches` backward passes to get their mean over batches and processes.

    Called once before each step. PyTorch's `DistributedDataParallel` would communicate after each backward pass (Dice
    and critic, VAT, and both for every accumulated batch), with the same result because the mean is linear.
    """
    gradients = _gradients(network)
    count = batches * idist.get_world_size()
    if count == 1 or not gradients:
        return
    mean = sum_over_processes(torch.cat([gradient.flatten() for gradient in gradients])) / count
    for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients])):
        gradient.copy_(part.view(gradient.shape))


def _gradients_are_finite(network: nn.Module) -> bool:
    return bool(torch.nn.utils.get_total_norm(_gradients(network)).isfinite())


def _gradients(network: nn.Module) -> list[torch.Tensor]:
    return [p.grad for p in network.parameters() if p.grad is not None]
