# SPDX-License-Identifier: Apache-2.0
"""Experiment: which postprocessing, or windows, are worth being a default, on patients that the segmenter never saw."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from scripts.base.errors import BundleError, report_bundle_errors
from scripts.base.marked_page import check_mark, write_below
from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS
from scripts.tools.bundle_command import run_command
from scripts.tools.paired import Values, by_patient, by_region, difference, read_column

MARK = "<!-- what follows is written by `python -m scripts.tools.postprocessing --page` -->"
PLAIN = "threshold alone"
# settings of configs/inference.yaml; voxels are those of the input, 1 mm in BraTS
CHOICES: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "enhancing tumour below 50 voxels becomes core": {"min_enhancing": 50},
    "enhancing tumour below 200 voxels becomes core": {"min_enhancing": 200},
    "enhancing tumour below 500 voxels becomes core": {"min_enhancing": 500},
    "no components below 100 voxels": {"min_component": 100},
    "no components below 500 voxels": {"min_component": 500},
    "no components below 2,000 voxels": {"min_component": 2000},
    "no islands that the critic holds wrong": {"remove_doubted": True},
    "inner regions cut to the outer ones": {"nested": True},
    "mean of two passes, mirrored": {"flips": [0]},
    "windows in place of whole brains": {"max_whole_brain_voxels": 0},
}


def main() -> None:
    """Evaluates each choice that is not done yet, and writes a table of all."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.postprocessing", description=__doc__)
    parser.add_argument("datalist", help="data list; its validation, which the segmenter never saw, is to choose by")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON for inference.yaml, such as a ckpt_dir")
    parser.add_argument(
        "--output_dir", default="output/postprocessing", help="of the evaluations; give another for other weights"
    )
    parser.add_argument("--page", help="Markdown whose part after the mark is replaced by the table")
    args = parser.parse_args()
    if args.page:
        check_mark(args.page, MARK)
    split, folder = Path(args.datalist).resolve(), Path(args.output_dir).resolve()
    if not split.is_file():
        raise BundleError(f"{split}: no such file; write one with `python -m scripts.data.split`.")
    for name, choice in tqdm(CHOICES.items(), desc="choices", unit="choice"):
        evaluate(args.settings | choice, split=split, folder=folder / name.replace(" ", "_"))
    tables = {name: read(folder / name.replace(" ", "_")) for name in CHOICES}
    text = f"{compare(tables)}\n{NOT_FOR_DIAGNOSIS}\n"
    print(text)
    if args.page:
        write_below(args.page, MARK, text)


def evaluate(settings: Mapping[str, Any], *, split: Path, folder: Path) -> None:
    """Runs `evaluating`, unless its table is there."""
    if not (folder / "per_case.csv").exists():
        own = {"split": split, "output_dir": folder, "html": False}
        configs = ["configs/inference.yaml", "configs/evaluate.yaml"]
        run_command("evaluating", configs, {**settings, **own}, log=folder.with_suffix(".log"))


def read(folder: Path) -> dict[str, Values]:
    """Returns Dice and HD95 of an evaluation."""
    return {name: read_column(folder / "per_case.csv", name) for name in ("dice", "hd95")}


def compare(tables: Mapping[str, Mapping[str, Values]]) -> str:
    """Returns a Markdown table: Dice and HD95 of each choice, and its difference in Dice from the plain threshold.

    Below it stands what choosing is worth: each patient gets the choice with the best mean Dice of the others.
    """
    lines = [
        f"| postprocessing | Dice {', '.join(REGIONS)} | HD95, mm | mean Dice, minus {PLAIN} (95 %) |",
        "|---|---|---|---|",
    ]
    dice = {name: by_patient([table["dice"]]) for name, table in tables.items()}
    for name, table in tables.items():
        cells = [by_region(table["dice"], digits=3), by_region(table["hd95"], digits=1)]
        gain = "" if name == PLAIN else f" {difference(dice[name], dice[PLAIN])}"
        lines.append(f"| {name} | {' | '.join(cells)} |{gain} |")
    return "\n".join([*lines, "", _cross_validated(dice), ""])


def _cross_validated(dice: Mapping[str, Mapping[str, float]]) -> str:
    chosen = {}
    for left_out in dice[PLAIN]:
        others = {name: np.mean([v for case, v in values.items() if case != left_out]) for name, values in dice.items()}
        best = max(others, key=lambda name: others[name])
        chosen[left_out] = dice[best][left_out]
    return (
        f"Chosen for each patient by the others: mean Dice {np.mean(list(chosen.values())):.4f}, "
        f"{difference(chosen, dice[PLAIN])} over {PLAIN}. Intervals: bootstrap over {len(chosen)} patients."
    )


if __name__ == "__main__":
    main()
