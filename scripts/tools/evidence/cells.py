# SPDX-License-Identifier: Apache-2.0
"""Cells of the experiment: one training with its evaluation and robustness, each by the bundle's own command."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from monai.data import partition_dataset
from tqdm import tqdm

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.datalist import write_datalist
from scripts.tools.bundle_command import run_command
from scripts.tools.evidence.arms import Settings, schedule

EVALUATE = ["configs/inference.yaml", "configs/evaluate.yaml"]
ROBUSTNESS = [*EVALUATE, "configs/robustness.yaml"]
# artefacts of three kinds at the middle severity, and adversarial changes
DISTURBANCES: Settings = {"artefacts": ["bias_field", "noise", "motion"], "severities": [2], "norms": [0.02]}
# settings of train.yaml that inference.yaml has too
OF_NETWORKS = ("features", "critic_features", "critic_sees", "critic_starts_from_certainty", "critic_stride")
OF_INPUT = ("spacing", "patch_size")


@dataclass(frozen=True)
class Cell:
    """A training of one arm with one seed, validated on one fold.

    Attributes:
        settings: of the arm.
        folder: of everything that the cell writes.
        datalist: the fold's data list; its `validation` is what the cell is evaluated on.
        training_cases: number of cases in its `training`.
        steps_as_with: number of cases that an epoch has to have for the number of steps; with fewer cases there are
            more epochs.
    """

    arm: str
    settings: Settings
    seed: int
    fold: int
    folder: Path
    datalist: Path
    training_cases: int
    steps_as_with: int

    @property
    def is_done(self) -> bool:
        """Whether all results are there."""
        return (self.folder / "robustness" / "robustness.csv").exists()

    def run(self, settings: Settings) -> None:
        """Trains, evaluates and disturbs, and skips what an earlier run has completed.

        Args:
            settings: of all arms; those of the cell's own arm replace them.

        Raises:
            BundleError: if a command fails, with its last line and where its log is.
        """
        batch_size = settings.get("batch_size", 2)
        steps = settings["epochs"] * (self.steps_as_with // batch_size)
        epochs = round(steps / (self.training_cases // batch_size))
        chosen = settings | schedule(steps) | self.settings | {"epochs": epochs}
        places = {"ckpt_dir": self.folder, "cache_dir": self.folder.parent / "cache"}
        training = {"datalist": self.datalist, "output_dir": self.folder, "resume": "auto", "seed": self.seed}
        self._command("training", ["configs/train.yaml"], chosen | {"val_interval": epochs} | training | places)
        network = {name: value for name, value in chosen.items() if name in OF_NETWORKS + OF_INPUT}
        common = network | places | {"split": self.datalist}
        evaluated, robustness = self.folder / "evaluated", self.folder / "robustness"
        if not (evaluated / "summary.json").exists():
            self._command("evaluating", EVALUATE, common | {"output_dir": evaluated, "html": False})
        self._command("robustness", ROBUSTNESS, common | DISTURBANCES | {"output_dir": robustness})

    def _command(self, name: str, configs: Sequence[str], settings: Settings) -> None:
        # one thread, so that a cell is the same however many run at a time
        run_command(name, configs, settings, log=self.folder / f"{name}.log", threads=1)


def make_cells(
    cases: Sequence[Item], *, output_dir: Path, arms: Mapping[str, Settings], seeds: int, folds: int
) -> list[Cell]:
    """Writes the folds' data lists and returns the cells, all arms of a seed and fold next to each other.

    Args:
        cases: labelled cases; each patient is in the validation of exactly one fold.
        output_dir: of the experiment.
        arms: name and settings of each arm.
        seeds: number of seeds.
        folds: number of folds.

    Raises:
        BundleError: if there are fewer patients than folds.
    """
    cells = []
    for fold, (training, validation) in enumerate(split_into_folds(cases, folds)):
        datalist = output_dir / f"fold_{fold}.json"
        write_datalist(str(datalist), training, validation)
        for seed in range(seeds):
            for arm, settings in arms.items():
                folder = output_dir / f"seed{seed}_fold{fold}_{folder_name(arm)}"
                count = len(training)
                cells.append(Cell(arm, settings, seed, fold, folder, datalist, count, steps_as_with=count))
    return sorted(cells, key=lambda cell: cell.seed)


def folder_name(arm: str) -> str:
    """Returns an arm's name as part of a path."""
    return re.sub(r"\W+", "_", arm)


def split_into_folds(cases: Sequence[Item], folds: int) -> list[tuple[list[Item], list[Item]]]:
    """Returns the training and validation cases of each fold, always the same ones.

    Raises:
        BundleError: if there are fewer patients than folds.
    """
    patients = sorted({item["patient"] for item in cases})
    if not 2 <= folds <= len(patients):
        raise BundleError(f"--folds {folds}: allowed are 2 to {len(patients)}, the number of patients")
    parts = partition_dataset(patients, num_partitions=folds, shuffle=True, seed=0, even_divisible=False)
    return [
        (
            [item for item in cases if item["patient"] not in part],
            [item for item in cases if item["patient"] in part],
        )
        for part in parts
    ]


def run_cells(cells: Sequence[Cell], settings: Settings, *, jobs: int) -> None:
    """Runs cells, several at a time; after a failure none is begun any more.

    Raises:
        BundleError: that of the first cell that fails.
    """
    pool = ThreadPoolExecutor(jobs)
    try:
        for _ in tqdm(pool.map(lambda cell: cell.run(settings), cells), total=len(cells), desc="cells", unit="cell"):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
