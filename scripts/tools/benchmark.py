# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.data import Dataset
from monai.engines import Trainer

from scripts.base.allocator import reuse_freed_memory
from scripts.base.settings_check import check_settings

# a step's parts, as settings of train.yaml
VARIANTS = {
    "Dice": {"lambda_vat": 0, "lambda_critic": 0},
    "Dice + VAT": {"lambda_critic": 0},
    "Dice + critic": {"lambda_vat": 0},
    "reciprocal": {},
}


def main() -> None:
    """Command line: prints time and peak memory of training steps, each variant in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.benchmark", description="Times a training step.")
    parser.add_argument("--config_file", nargs="+", default=["configs/train.yaml"], help="config, then overlays")
    parser.add_argument("--steps", type=int, default=10, help="counted steps, after one that is not (10)")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, such as '{\"patch_size\": 96}'")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--measure", choices=list(VARIANTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.config_file, args.steps, args.settings | VARIANTS[args.measure])))
        return
    print(f"{'step':>14}  {'median s':>8}  {'min':>6}  {'max':>6}  {'peak GB':>7}")
    for variant in args.variants:
        command = [sys.executable, "-m", "scripts.tools.benchmark", *sys.argv[1:], "--measure", variant]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found = json.loads(output.splitlines()[-1])
        print("{:>14}  {median:8.2f}  {min:6.2f}  {max:6.2f}  {peak_gb:7.2f}".format(variant, **found), flush=True)


def measure(config_file: Sequence[str], steps: int, settings: dict[str, Any]) -> dict[str, float]:
    """Runs the config's own trainer on random patches.

    Returns:
        Seconds a step (median, min, max) and the process's peak memory in GB, or the GPU's where there is one.
    """
    reuse_freed_memory()
    trainer = _make_trainer(config_file, steps, settings)
    ends: list[float] = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: ends.append(_now(trainer.state.device)))
    trainer.run()
    seconds = [end - start for start, end in itertools.pairwise(ends)]
    if trainer.state.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 1e9
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return {"median": median(seconds), "min": min(seconds), "max": max(seconds), "peak_gb": peak}


def _make_trainer(config_file: Sequence[str], steps: int, settings: dict[str, Any]) -> Trainer:
    parser = ConfigParser()
    parser.read_config(list(config_file))
    parser.update(
        settings | {"critic_start": 0, "critic_ramp": 0, "vat_start": 0, "vat_ramp": 0, "epochs": 1, "val_interval": 1}
    )
    check_settings(parser)
    size, edge = parser["batch_size"], parser["patch_size"]
    case = {"image": torch.rand(4, edge, edge, edge), "label": (torch.rand(3, edge, edge, edge) > 0.9).float()}
    parser["train"]["dataset"] = Dataset([case] * (size * (steps + 1)))
    parser["train"]["handlers"] = [h for h in parser["train"]["handlers"] if "VirtualAdversarial" in h["_target_"]]
    return parser.get_parsed_content("train#trainer")


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


if __name__ == "__main__":
    main()
