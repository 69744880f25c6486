# SPDX-License-Identifier: Apache-2.0
"""Moves a trained segmenter's output so that 0.5 is the best threshold on cases that it never saw."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from scripts.base.atomic_files import to_bytes
from scripts.base.errors import BundleError, report_bundle_errors
from scripts.base.results import set_aside, write_result
from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS
from scripts.data.cohort import Cohort
from scripts.tools.critic_predictions import Predictions, Record, read_records
from scripts.tools.train_critic import BUNDLE, read_config

SHIFTS = torch.arange(-20, 31) / 10  # of logits; a threshold of 0.12 to 0.95


def main() -> None:
    """Command line: chooses a shift of each region's logits and subtracts it from the bias of the last layer.

    A segmenter trained with the Dice loss on patches around tumours predicts regions too large or too small for whole
    brains. A shift s is the threshold sigmoid(s) in place of 0.5, but everything that follows (the critic, exports, the
    browser's page) has it without a setting. A critic is to be trained after it.
    """
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.fit_threshold", description=__doc__)
    parser.add_argument("datalist", help="data list; its validation, which the segmenter never saw, is to choose by")
    parser.add_argument("--model", default=str(BUNDLE / "models" / "model.pt"), help="the segmenter's weights")
    parser.add_argument("--output", default=str(BUNDLE / "models" / "model.pt"), help="its moved weights")
    parser.add_argument("--predictions_dir", default="output/predictions", help="where predictions are kept")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, over those of configs/train.yaml")
    args = parser.parse_args()
    config = read_config(args.settings, seed=0)
    cases = Cohort(".", datalist=args.datalist, cache_dir=config["cache_dir"]).held_out_cases()
    if len(cases) < 2:
        raise BundleError(f"{args.datalist}: its validation has 1 case; at least 2 are needed to choose by.")
    predictions = Predictions(config, args.model, folder=args.predictions_dir)
    dice = find_dice(read_records(predictions.of(cases)))
    shifts = choose(dice)
    print(describe(dice, shifts))
    weights = predictions.segmenter.state_dict()
    weights["final_conv.bias"] -= shifts
    output = Path(args.output)
    if output.exists():  # such as the shipped weights
        set_aside(output, f"{output.stem}.previous.pt")
    write_result(output, to_bytes({name: tensor.contiguous() for name, tensor in weights.items()}))
    print(f"{args.output}: shifts {shifts.tolist()} subtracted. {NOT_FOR_DIAGNOSIS}")


def find_dice(records: Sequence[Record]) -> torch.Tensor:
    """Returns the Dice (cases, regions, shifts) of predictions with each of `SHIFTS`; 1 where both masks are empty."""
    dice = torch.ones(len(records), len(REGIONS), len(SHIFTS), dtype=torch.float64)
    for case, record in enumerate(records):
        for region, (logits, label) in enumerate(zip(record["logits"].float(), record["label"] > 0)):
            for index, shift in enumerate(SHIFTS):
                mask = logits > shift
                if size := int(mask.sum() + label.sum()):
                    dice[case, region, index] = 2 * int((mask & label).sum()) / size
    return dice


def choose(dice: torch.Tensor) -> torch.Tensor:
    """Returns the shift (regions) with the best mean Dice over cases; of equal ones the smallest."""
    nearest = SHIFTS.abs().argsort(stable=True)
    return SHIFTS[nearest[dice.mean(0)[:, nearest].argmax(-1)]]


def describe(dice: torch.Tensor, shifts: torch.Tensor) -> str:
    """Returns a line for each region: its Dice before and after, and with shifts chosen for each case by the others."""
    lines = []
    for region, name in enumerate(REGIONS):
        before, after = (
            dice[:, region, (SHIFTS - shift).abs().argmin()].mean() for shift in (torch.tensor(0.0), shifts[region])
        )
        left_out = []
        for case in range(len(dice)):
            shift = choose(torch.cat([dice[:case], dice[case + 1 :]]))[region]
            left_out.append(dice[case, region, (SHIFTS - shift).abs().argmin()])
        lines.append(
            f"{name}: threshold {shifts[region].sigmoid():.2f}, mean Dice {before:.4f} -> {after:.4f}; "
            f"chosen for each case by the others: {torch.stack(left_out).mean():.4f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
