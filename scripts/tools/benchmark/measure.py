# SPDX-License-Identifier: Apache-2.0
"""Runs the tasks of a benchmark side by side, each in a process of its own, in turns."""

from __future__ import annotations

import contextlib
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

import torch

from scripts.base.allocator import reuse_freed_memory
from scripts.base.errors import BundleError
from scripts.base.peak_memory import peak_gb
from scripts.tools.benchmark.tasks import Run, Task

# of the task of this process
_run: Run | None = None


@dataclass
class Result:
    """What was measured of a task.

    Attributes:
        name: of the task.
        seconds: of each run, per unit of the task.
        peak_gb: peak memory of the process, or of the GPU's allocator.
        base_gb: memory before the first run.
    """

    name: str
    seconds: list[float] = field(default_factory=list)
    peak_gb: float = 0.0
    base_gb: float = 0.0


def measure(tasks: Sequence[Task], *, repeats: int) -> list[Result]:
    """Measures tasks in turns, so that whatever slows the machine down meets all of them.

    Each task runs once uncounted, then `repeats` times. (`torch.utils.benchmark.Timer` fits no task of seconds: it
    runs the statement twice before each timing.)

    Raises:
        BundleError: if a task fails or is not what its name says.
    """
    results = [Result(task.name) for task in tasks]
    with contextlib.ExitStack() as stack:
        context = _context()
        workers = [stack.enter_context(ProcessPoolExecutor(1, context)) for _ in tasks]
        for worker, task, result in zip(workers, tasks, results):
            try:
                result.base_gb = worker.submit(_prepare, task).result()
            except BundleError as error:
                raise BundleError(f"benchmark '{task.name}': {error}") from error
        for _ in range(repeats):
            for worker, task, result in zip(workers, tasks, results):
                result.seconds.append(worker.submit(_time).result() / task.count)
        for worker, result in zip(workers, results):
            result.peak_gb = worker.submit(_memory).result()
    return results


def _context() -> multiprocessing.context.BaseContext:
    if "forkserver" not in multiprocessing.get_all_start_methods():  # on Windows
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["scripts.tools.benchmark.tasks"])  # imports take seconds
    return context


def _prepare(task: Task) -> float:
    global _run
    reuse_freed_memory()
    _run = task.prepare(**task.options)
    base = _memory()
    _run()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    return base


def _time() -> float:
    assert _run is not None
    if torch.cuda.is_available():
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        _run()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3
    began = time.perf_counter()
    _run()
    return time.perf_counter() - began


def _memory() -> float:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return peak_gb()
