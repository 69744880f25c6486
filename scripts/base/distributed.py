# SPDX-License-Identifier: Apache-2.0

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

# longer than PyTorch's: while the first process checks cases or writes a report, the others wait
TIMEOUT = timedelta(hours=2)


def process_device() -> torch.device:
    """Gives this process its GPU, by its number on the machine (torchrun's), or the CPU where there is none."""
    number = int(os.environ.get("LOCAL_RANK", 0))
    return torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")


def join_processes(device: torch.device | str) -> None:
    """Joins the processes that torchrun started: by NCCL on GPUs, by Gloo on the CPU. Only the first one logs.

    Raises:
        BundleError: when it was not torchrun that started this one.
    """
    if not distributed.is_torchelastic_launched():
        raise BundleError("the multi_gpu configs are for processes that torchrun starts; see docs/cluster.md.")
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    idist.sync()
    if idist.get_rank() > 0:
        logging.disable(logging.WARNING)


def leave_processes() -> None:
    """Waits for the others and ends what `join_processes` began."""
    idist.barrier()
    distributed.destroy_process_group()


def cases_of_process(count: int) -> range:
    """Gives this process's part of `count` cases, each in one part, none twice; put together, they are in order.

    So what the processes gather is what one alone would have. (PyTorch's `DistributedSampler` pads the parts to one
    length with cases that are then counted twice.)

    Raises:
        BundleError: when there are fewer cases than processes.
    """
    rank, processes = idist.get_rank(), idist.get_world_size()
    if count < processes:
        raise BundleError(f"{count} cases to evaluate for {processes} processes; start at most {count}.")
    return range(count * rank // processes, count * (rank + 1) // processes)


def gather_from_processes(items: list[T]) -> list[T]:
    """Gives the items of all processes, in the processes' order; every process must ask."""
    parts = cast(list[list[T]], idist.all_gather(items))
    return [item for part in parts for item in part]


def sum_over_processes(tensor: torch.Tensor) -> torch.Tensor:
    """Gives the sum over all processes; every process must come with its own, which may be overwritten."""
    return cast(torch.Tensor, idist.all_reduce(tensor))


def all_processes_agree(condition: bool) -> bool:
    """Tells whether a condition holds in all processes; every process must ask."""
    return bool(idist.all_reduce(float(condition), op="MIN"))


class SameWeightsHandler:
    """Gives all processes the first one's weights when training starts: what averages gradients must start alike.

    Args:
        networks: whose parameters and buffers are given.
    """

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        self.networks = networks

    def attach(self, engine: Engine) -> None:
        """Hooks the handler before the first epoch; after whatever loads weights, if that was attached before."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Gives the weights."""
        for network in self.networks:
            for tensor in network.state_dict().values():
                tensor.copy_(cast(torch.Tensor, idist.broadcast(tensor.contiguous(), src=0)))
