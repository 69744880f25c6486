# SPDX-License-Identifier: Apache-2.0
"""BatchNorm with the statistics of all processes, on GPUs and on the CPU."""

from __future__ import annotations

from typing import Any

import torch
from ignite import distributed as idist
from torch import nn

from scripts.base.distributed import sum_over_processes
from scripts.method.precision import at_least_float32


class SynchronisedBatchNorm(nn.SyncBatchNorm):
    """PyTorch's `SyncBatchNorm`, which also trains on the CPU, where PyTorch's own raises an error.

    All processes must have batches of the same shape.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalises (B, C, ...)."""
        if input.device.type != "cpu" or not self.training:
            return super().forward(input)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        values = at_least_float32(input)
        axes = [0, *range(2, input.ndim)]
        shape = (1, -1, *[1] * (input.ndim - 2))
        count = input.numel() // input.shape[1] * idist.get_world_size()
        mean = _SumOverProcesses.apply(values.sum(axes)) / count
        centred = values - mean.view(shape)
        variance = _SumOverProcesses.apply(centred.square().sum(axes)) / count
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).type_as(input)


def synchronised(network: nn.Module) -> nn.Module:
    """Converts every BatchNorm of a network to `SynchronisedBatchNorm`; the state dict does not change."""
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in network.modules():
        if isinstance(module, nn.SyncBatchNorm):
            # the conversion creates PyTorch's class, whatever class it is called on
            module.__class__ = SynchronisedBatchNorm
    return network


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        return sum_over_processes(tensor.clone())

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        # each process's loss depends on every process's term of the sum
        return sum_over_processes(gradient.clone())
