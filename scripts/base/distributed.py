# SPDX-License-Identifier: Apache-2.0
"""Several processes: joining them, dividing cases among them and exchanging values."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import TypeVar, cast

import torch
from ignite import distributed as idist
from ignite.engine import Engine, Events
from torch import distributed, nn

from scripts.base.errors import BundleError

T = TypeVar("T")

# longer than PyTorch's default: the other processes wait while the first one checks cases or writes a report
TIMEOUT = timedelta(hours=2)


def process_device() -> torch.device:
    """Returns the GPU of this process, chosen by torchrun's LOCAL_RANK, or the CPU if there is no GPU."""
    number = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")


def join_processes(device: torch.device | str) -> None:
    """Connects the processes that torchrun started, with NCCL on GPUs and Gloo on the CPU; only the first one logs.

    Raises:
        BundleError: if this process was not started by torchrun.
    """
    if not distributed.is_torchelastic_launched():
        raise BundleError("the multi_gpu configs need torchrun: start the command with it as docs/cluster.md shows.")
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    idist.sync()
    if idist.get_rank() > 0:
        logging.disable(logging.WARNING)


def leave_processes() -> None:
    """Waits for the other processes and closes the connection that `join_processes` opened."""
    idist.barrier()
    distributed.destroy_process_group()


def cases_of_process(count: int) -> range:
    """Returns the indices of the cases that this process evaluates, out of `count`.

    Each case belongs to exactly one process, and the parts are contiguous and in the order of the processes, so that
    results that are gathered equal those of a single process. (PyTorch's `DistributedSampler` repeats cases to give
    all processes the same number.)

    Raises:
        BundleError: if there are fewer cases than processes.
    """
    rank, processes = idist.get_rank(), idist.get_world_size()
    if count < processes:
        raise BundleError(f"{count} cases to evaluate with {processes} processes; start at most {count} processes.")
    return range(count * rank // processes, count * (rank + 1) // processes)


def gather_from_processes(items: list[T]) -> list[T]:
    """Returns the items of all processes, in the order of the processes; every process must call it."""
    parts = cast(list[list[T]], idist.all_gather(items))
    return [item for part in parts for item in part]


def sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """Returns the sum of a tensor over all processes, may overwrite the tensor; every process must call it."""
    return cast(torch.Tensor, idist.all_reduce(tensor))


def all_processes_agree(condition: bool) -> bool:
    """Returns whether a condition holds in all processes; every process must call it."""
    return bool(idist.all_reduce(float(condition), op="MIN"))


class SameWeightsHandler:
    """Copies the first process's weights to all others when training starts, as averaging of gradients requires.

    Args:
        networks: networks whose parameters and buffers are copied.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = networks

    def attach(self, engine: Engine) -> None:
        """Registers the handler on the start of training; attach it after handlers that load weights."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Copies the weights."""
        for network in self.networks:
            for tensor in network.state_dict().values():
                tensor.copy_(cast(torch.Tensor, idist.broadcast(tensor.contiguous(), src=0)))
