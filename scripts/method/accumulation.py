# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import NamedTuple

import torch
from ignite import distributed as idist
from ignite.engine import State
from torch import nn
from torch.optim import Optimizer

from scripts.base.distributed import sum_over_processes


class AccumulationWindow(NamedTuple):
    """The batches that share an optimiser's step: how many there are, and which one this is, from 0."""

    size: int
    position: int

    @property
    def begins(self) -> bool:
        """Whether this is the first batch."""
        return self.position == 0

    @property
    def ends(self) -> bool:
        """Whether this is the last batch, after which the step is taken."""
        return self.position == self.size - 1


def accumulation_window(state: State, accumulate: int) -> AccumulationWindow:
    """Tells where a trainer's iteration is among the `accumulate` batches of a step.

    Windows begin anew with each epoch, whose last one may be shorter: between epochs no gradient is pending, so that
    a state saved there is whole.
    """
    assert state.epoch_length is not None
    done = (state.iteration - 1) % state.epoch_length
    position = done % accumulate
    return AccumulationWindow(size=min(accumulate, state.epoch_length - (done - position)), position=position)


def step(network: nn.Module, optimizer: Optimizer, *, scaler: torch.amp.GradScaler, batches: int = 1) -> bool:
    """Takes an optimiser's step with the mean gradient of batches and processes, unless that is not finite.

    In float16 a gradient may overflow by its scale alone. The scaler then leaves the step out and halves the scale,
    which is no fault until the scale is down at 1.

    Args:
        network: whose gradients are the sum over `batches` backward passes; every process must come with its own.
        optimizer: of the network's parameters.
        scaler: with which the backward passes were scaled.
        batches: how many there were.

    Returns:
        False where the gradient is not finite and nothing was done; the same in all processes.
    """
    average_gradients(network, batches=batches)
    if scaler.get_scale() <= 1 and not _gradients_are_finite(network):
        return False
    scaler.step(optimizer)
    scaler.update()
    return True


def average_gradients(network: nn.Module, *, batches: int = 1) -> None:
    """Makes the sum of gradients over `batches` backward passes their mean, over all processes too.

    Once before each step, in place of PyTorch's `DistributedDataParallel`, which would average after each backward
    pass: that of Dice and critic, that of VAT, and again for every accumulated batch. The sum is linear, so that
    once is the same.
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
