# SPDX-License-Identifier: Apache-2.0
"""Tables and JSON of the benchmark's results."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import numpy as np
import torch

from scripts.tools.benchmark.measure import Result


def to_markdown(title: str, results: Sequence[Result]) -> str:
    """Returns a table of seconds (median, min to max), their ratio to the first row and peak memory.

    The ratio is that of the medians; in brackets are the quartiles of the ratios within each turn.
    """
    lines = [
        f"| {title} | seconds, median (min-max) | ratio (quartiles) | peak GB | ratio |",
        "|---|---|---|---|---|",
    ]
    first = results[0]
    for result in results:
        row = summarise(result, first)
        lines.append(
            "| {name} | {seconds:.3f} ({min:.3f}-{max:.3f}) | {ratio:.2f} ({quartiles[0]:.2f}-{quartiles[1]:.2f}) "
            "| {peak_gb:.2f} | {peak_ratio:.2f} |".format(**row)
        )
    return "\n".join(lines) + "\n"


def summarise(result: Result, first: Result) -> dict[str, Any]:
    """Returns what the table has of a result, compared with that of the first row."""
    quartiles = np.percentile(np.divide(result.seconds, first.seconds), (25, 75))
    return {
        "name": result.name,
        "seconds": median(result.seconds),
        "min": min(result.seconds),
        "max": max(result.seconds),
        "ratio": median(result.seconds) / median(first.seconds),
        "quartiles": [float(q) for q in quartiles],
        "peak_gb": result.peak_gb,
        "peak_ratio": result.peak_gb / first.peak_gb,
    }


def slopes(sizes: Sequence[float], results: Sequence[Result]) -> dict[str, float]:
    """Returns the slopes of log seconds and log memory (above that before the first run) over log size.

    1 is proportional growth.
    """
    memory = [max(result.peak_gb - result.base_gb, 1e-3) for result in results]
    values = {"time": [median(result.seconds) for result in results], "memory": memory}
    return {name: float(np.polyfit(np.log(sizes), np.log(value), 1)[0]) for name, value in values.items()}


def machine() -> dict[str, Any]:
    """Returns what the figures depend on: processor or GPU, threads and versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "device": gpu or f"{torch.cpu.get_capabilities().get('cpu_name')}, {torch.backends.cpu.get_cpu_capability()}",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
