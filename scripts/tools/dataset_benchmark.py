# SPDX-License-Identifier: Apache-2.0
"""Benchmark of a data set of full size: finding and checking its cases, and the first training step."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.bundle import ConfigParser
from tqdm import tqdm

from scripts.base.allocator import reuse_freed_memory
from scripts.base.peak_memory import peak_gb
from scripts.data.cohort import Cohort
from scripts.data.discovery import find_cases

# measured in this order, each part in a new process; parts that run again find the results of their first run
PARTS = ("discovery", "checks", "checks again", "first step", "first step again")


def main() -> None:
    """Command line: prints time and peak memory of finding and checking many cases and of the first training step."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.tools.dataset_benchmark", description="Measures a data set of full size."
    )
    parser.add_argument("--cases", type=int, default=1251, help="cases, links to a few phantoms (1251: BraTS 2021)")
    parser.add_argument("--phantoms", type=int, default=4, help="phantoms of full size, about 10 MB each (4)")
    parser.add_argument("--shape", type=int, nargs=3, default=[240, 240, 155], help="their voxels (240 240 155)")
    parser.add_argument("--config_file", nargs="+", default=["configs/train.yaml"], help="config, then overlays")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, such as '{\"num_workers\": 2}'")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(*args.measure, config_file=args.config_file, settings=args.settings)))
        return
    with tempfile.TemporaryDirectory() as folder:
        # in a new process: the peak memory of a process includes that of the process that started it
        phantoms, options = f"{folder}/phantoms", ["--cases", str(args.phantoms), "--shape", *map(str, args.shape)]
        subprocess.run(
            [sys.executable, "-m", "scripts.data.phantoms", phantoms, *options], check=True, stdout=sys.stderr
        )
        link_cases(phantoms, Path(folder, "data"), cases=args.cases)
        print(f"{args.cases} cases, links to {args.phantoms} phantoms of {args.shape}")
        print(f"{'':>16}  {'seconds':>8}  {'of CPU':>8}  {'peak GB':>7}")
        for part in PARTS:
            command = [
                sys.executable,
                "-m",
                "scripts.tools.dataset_benchmark",
                *sys.argv[1:],
                "--measure",
                part,
                folder,
            ]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found = json.loads(output.splitlines()[-1])
            print("{:>16}  {seconds:8.1f}  {cpu_seconds:8.1f}  {peak_gb:7.2f}".format(part, **found), flush=True)


def link_cases(phantoms: str, folder: Path, *, cases: int) -> None:
    """Creates cases with the layout and names of BraTS 2021 whose files are links to the phantoms' files in turn."""
    originals = find_cases(phantoms)
    for index in tqdm(range(cases), desc="links", unit="case"):
        case, original = f"BraTS2021_{index:05d}", originals[index % len(originals)]
        (folder / case).mkdir(parents=True)
        for path in (*original["image"], original["label"]):
            name = Path(path).name.replace(original["case"], case)
            (folder / case / name).symlink_to(path)


def measure(part: str, folder: str, *, config_file: list[str], settings: dict[str, Any]) -> dict[str, float]:
    """Runs a part once in this process.

    Returns:
        Wall-clock and CPU time in seconds, without the import of libraries, and the process's peak memory in GB.
    """
    data, cache = f"{folder}/data", f"{folder}/cache"
    work: dict[str, Callable[[], object]] = {
        "discovery": lambda: find_cases(data),
        "checks": lambda: Cohort(data, cache_dir=cache).sound_cases(),
        "first step": lambda: _train_a_step(data, folder, config_file, settings),
    }
    start, cpu_start = time.perf_counter(), time.process_time()
    work[part.removesuffix(" again")]()
    spent = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu_start}
    return spent | {"peak_gb": peak_gb()}


def _train_a_step(data: str, folder: str, config_file: list[str], settings: dict[str, Any]) -> None:
    reuse_freed_memory()
    parser = ConfigParser()
    parser.read_config(config_file)
    places = {"dataset_dir": data, "cache_dir": f"{folder}/cache", "output_dir": folder, "ckpt_dir": folder}
    parser.update(places | settings)
    trainer = parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=1), lambda engine: engine.terminate())
    trainer.run()


if __name__ == "__main__":
    main()
