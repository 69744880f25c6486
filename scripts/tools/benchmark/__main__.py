# SPDX-License-Identifier: Apache-2.0
"""Command line of the benchmark: `python -m scripts.tools.benchmark`."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from monai.bundle import ConfigParser

from scripts.base.errors import report_bundle_errors
from scripts.base.marked_page import check_mark, write_below
from scripts.base.results import refuse_replacing, write_result
from scripts.method.precision import SMALLEST_BFLOAT16_PATCH
from scripts.tools.benchmark.measure import measure
from scripts.tools.benchmark.report import machine, slopes, to_markdown
from scripts.tools.benchmark.tasks import (
    LOSSES,
    Task,
    make_phantoms,
    phantom_shape,
    prepare_command,
    prepare_inference,
    prepare_loading,
    prepare_segresnet_inference,
    prepare_stock_adversarial,
    prepare_supervised,
    prepare_training,
)

VAT, CRITIC = LOSSES[:1], LOSSES[1:]
NO_VAT, NO_CRITIC = {"lambda_vat": 0}, {"lambda_critic": 0}
FLOAT32 = {"amp": False}
BF16 = {"amp": True, "amp_dtype": "bfloat16"}
PAPER = {"vat_interval": 1, "vat_direction": "divergence", "critic_stride": 1, **FLOAT32}
FAST = {"vat_interval": 1, "vat_direction": "loss", "critic_stride": 2, **FLOAT32}
MARK = "<!-- what follows is written by `python -m scripts.tools.benchmark --page` -->"
GROUPS = ("steps", "epoch", "loading", "inference", "commands", "scaling")


def main() -> None:
    """Measures the chosen groups, prints their tables and writes JSON."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.benchmark", description=__doc__)
    parser.add_argument("--groups", nargs="+", default=list(GROUPS), choices=GROUPS)
    parser.add_argument("--config_file", nargs="+", default=["configs/train.yaml"], help="config, then overlays")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, such as '{\"patch_size\": 96}'")
    parser.add_argument("--repeats", type=int, default=7, help="counted runs of each task, after one that is not (7)")
    parser.add_argument("--case_size", type=int, default=240, help="voxels along a phantom's first axis (240)")
    parser.add_argument("--cases", type=int, default=8, help="phantoms of an epoch (8)")
    parser.add_argument("--page", help="Markdown whose part after the mark is replaced by the tables")
    parser.add_argument("--output", default="output/benchmark.json", help="JSON of every run (output/benchmark.json)")
    args = parser.parse_args()
    refuse_replacing(args.output)
    if args.page:
        check_mark(args.page, MARK)
    found: dict[str, Any] = {"machine": machine(), "settings": args.settings, "repeats": args.repeats}
    conditions = found["machine"] | {"repeats": args.repeats} | args.settings
    tables = [", ".join(f"{name} {value}" for name, value in conditions.items()) + "\n"]
    print(tables[0])
    with tempfile.TemporaryDirectory() as folder:
        benchmark = Benchmark(args, folder)
        for group in args.groups:
            for title, tasks, sizes in getattr(benchmark, group)():
                results = measure(tasks, repeats=args.repeats)
                found[title] = {"runs": [asdict(result) for result in results]}
                tables.append(to_markdown(title, results))
                if sizes:
                    found[title]["slopes"] = slopes(sizes, results)
                    tables[-1] += "\nLog-log slope of time {time:.2f}, of memory {memory:.2f}.\n".format(
                        **found[title]["slopes"]
                    )
                print(tables[-1])
                _write(args, found, tables)
    print(f"written to {args.output}")


def _write(args: argparse.Namespace, found: dict[str, Any], tables: Sequence[str]) -> None:
    write_result(args.output, (json.dumps(found, indent=2) + "\n").encode())
    if args.page:
        write_below(args.page, MARK, "\n".join(tables))


Group = Iterator[tuple[str, list[Task], Sequence[float] | None]]


class Benchmark:
    """The groups of tasks; each is measured in one interleaved run.

    Args:
        args: of the command line.
        folder: for phantoms, caches and label maps.
    """

    def __init__(self, args: argparse.Namespace, folder: str) -> None:
        self.config_files = args.config_file
        self.settings: dict[str, Any] = args.settings | {"cache_dir": f"{folder}/cache"}
        self.size, self.cases, self.folder = args.case_size, args.cases, folder
        config = ConfigParser()
        config.read_config(args.config_file)
        self.vat_interval = args.settings.get("vat_interval", config["vat_interval"])
        self.patch_size = args.settings.get("patch_size", config["patch_size"])

    def steps(self) -> Group:
        """Training steps on random patches, with MONAI's own trainers and the zoo's network beside them."""
        peer = {"config_files": self.config_files, "settings": self.settings}
        tasks = [
            self._step("Dice alone", {**NO_VAT, **NO_CRITIC, **FLOAT32}, ()),
            self._step("Dice and VAT, along the divergence", {**PAPER, **NO_CRITIC}, VAT),
            self._step("Dice and VAT, along the loss", {**FAST, **NO_CRITIC}, VAT),
            self._step("Dice and critic, stride 1", {**PAPER, **NO_VAT}, CRITIC),
            self._step("Dice and critic, stride 2", {**FAST, **NO_VAT}, CRITIC),
            self._step("reciprocal as in the paper", PAPER, LOSSES),
            self._step("reciprocal, along the loss, stride 2", FAST, LOSSES),
            self._step("reciprocal, the config's settings", {}, LOSSES),
            self._step("reciprocal, along the loss, stride 2, VAT every 3rd step", FAST | {"vat_interval": 3}, LOSSES),
            *self._bfloat16_steps(),
            Task("MONAI's SupervisedTrainer, same network", prepare_supervised, peer),
            Task("MONAI's AdversarialTrainer, stock step", prepare_stock_adversarial, peer),
            Task("SupervisedTrainer, the zoo's SegResNet", prepare_supervised, peer | {"segresnet": True}),
        ]
        yield "training step", tasks, None

    def _bfloat16_steps(self) -> list[Task]:
        if self.patch_size < SMALLEST_BFLOAT16_PATCH:
            return []
        return [
            self._step("Dice alone, bfloat16", {**NO_VAT, **NO_CRITIC, **BF16}, ()),
            self._step("reciprocal, along the loss, stride 2, bfloat16", {**FAST, **BF16}, LOSSES),
        ]

    def epoch(self) -> Group:
        """A step of an epoch on phantoms, from the cache, with loading and augmentation."""
        settings = self.settings | self._phantoms("phantoms", self.cases)
        options = {"config_files": self.config_files, "phantoms": settings["dataset_dir"]}
        variants: dict[str, dict[str, Any]] = {"Dice alone": {**NO_VAT, **NO_CRITIC}, "reciprocal": {}}
        yield (
            "epoch, a case",
            [
                Task(name, prepare_training, options | {"settings": settings | variant}, count=self._training_cases())
                for name, variant in variants.items()
            ],
            None,
        )

    def loading(self) -> Group:
        """One training case from its files, and from the cache."""
        options = {
            "config_files": self.config_files,
            "settings": self.settings | self._phantoms("phantoms", self.cases),
        }
        yield (
            "loading a case",
            [
                Task("from its files", prepare_loading, options | {"cached": False}),
                Task("from the cache, augmented", prepare_loading, options | {"cached": True}),
            ],
            None,
        )

    def inference(self) -> Group:
        """One case from its files to its label map, and the zoo's network on an image of that size."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        options = {"shape": phantom_shape(self.size), "device": device}
        tasks = [self._inference(self.size), Task("SegResNet, the network alone", prepare_segresnet_inference, options)]
        yield "inference of a case", tasks, None

    def commands(self) -> Group:
        """Whole commands, imports included: one case to its label map, and the evaluation of two with its report."""
        one, two = (self._phantoms(f"cases{n}", n) for n in (1, 2))
        options = {"output_dir": f"{self.folder}/commands"}
        tasks = [
            Task("inferring, one case", prepare_command, options | {"name": "inferring", "settings": one}),
            Task(
                "evaluating two cases, with the report",
                prepare_command,
                options | {"name": "evaluating", "settings": two | {"split": "all"}},
            ),
        ]
        yield "command", tasks, None

    def scaling(self) -> Group:
        """The reciprocal step, an epoch and inference as their sizes grow."""
        edge, batch = self.settings.get("patch_size", 64), self.settings.get("batch_size", 2)
        edges = [edge // 2, edge * 3 // 4, edge]
        tasks = [self._step(f"patch {e}", {**FAST, "patch_size": e}, LOSSES) for e in edges]
        yield "step, by voxels of a patch", tasks, [e**3 for e in edges]
        batches = [batch, 2 * batch, 4 * batch]
        tasks = [self._step(f"batch {b}", {**FAST, "batch_size": b}, LOSSES) for b in batches]
        yield "step, by batch size", tasks, batches
        counts = [self.cases, 2 * self.cases, 4 * self.cases]
        tasks = [
            Task(
                f"{count} cases",
                prepare_training,
                {
                    "config_files": self.config_files,
                    "phantoms": (found := self._phantoms(f"phantoms{count}", count, self.size // 2))["dataset_dir"],
                    "settings": self.settings | found,
                },
            )
            for count in counts
        ]
        yield "epoch, by cases", tasks, counts
        sizes = [self.size // 2, self.size * 3 // 4, self.size]
        yield "inference, by voxels of a case", [self._inference(size) for size in sizes], [s**3 for s in sizes]

    def _step(self, name: str, settings: dict[str, Any], losses: Sequence[str]) -> Task:
        # a run has as many steps as VAT's interval, so that it has one step with VAT
        steps = settings.get("vat_interval", self.vat_interval)
        options = {"config_files": self.config_files, "settings": self.settings | settings, "losses": losses}
        return Task(name, prepare_training, options | {"steps": steps}, count=steps)

    def _inference(self, size: int) -> Task:
        settings = self.settings | self._phantoms(f"case{size}", 1, size)
        options = {"settings": settings, "output_dir": f"{self.folder}/inferred{size}"}
        return Task(f"U-Net, files to label map, size {size}", prepare_inference, options)

    def _phantoms(self, name: str, cases: int, size: int | None = None) -> dict[str, Any]:
        return {"dataset_dir": make_phantoms(f"{self.folder}/{name}", cases=cases, size=size or self.size)}

    def _training_cases(self) -> int:
        return self.cases - max(round(0.2 * self.cases), 1)


if __name__ == "__main__":
    main()
