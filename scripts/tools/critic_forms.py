# SPDX-License-Identifier: Apache-2.0
"""Experiment: what each part of the critic's form is worth, measured on patients that no network was trained on."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser

from scripts.base.errors import BundleError, report_bundle_errors
from scripts.base.results import write_result
from scripts.base.text_files import write_json
from scripts.brats import NOT_FOR_DIAGNOSIS
from scripts.evaluation.reliability.scores import ZONES, Row, score_case
from scripts.evaluation.reliability.summary import (
    SCORES,
    as_text,
    calibration,
    difference_as_text,
    expected_dice,
    summarise,
)
from scripts.method.networks import VolumetricCritic
from scripts.tools.critic_predictions import Predictions, Record, read_records
from scripts.tools.train_critic import BUNDLE, find_evidence, fit_scales, read_cases, read_config, train_form

# settings of each form over those of configs/train.yaml: the whole critic, and each part of it cut by itself
FORMS: dict[str, dict[str, Any]] = {
    "whole": {},
    "without the image": {"critic_sees": "mask"},
    "without the certainty": {"critic_starts_from_certainty": False},
    "without spoilt masks": {"critic_spoilt_masks": False},
    "judges the source": {"critic_judges": "source"},
    "the paper's": {
        "critic_sees": "mask",
        "critic_judges": "source",
        "critic_starts_from_certainty": False,
        "critic_spoilt_masks": False,
        "critic_balanced": False,
    },
}
RESAMPLES = 999


def main() -> None:
    """Command line: trains the critic in each form for one segmenter, and writes a table of what each knows.

    The critics learn from the segmenter's predictions for the training cases (see `scripts.tools.train_critic`) and
    are scored on other cases. Their scales are fitted on all of these but the case that is scored. A cell of the table,
    a form with a seed, is kept in a file; a run that was stopped goes on with the next.
    """
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.critic_forms", description="The critic's forms")
    parser.add_argument("datalist", help="data list; its validation, which the segmenter never saw, is to score on")
    parser.add_argument("--model", default=str(BUNDLE / "models" / "model.pt"), help="the segmenter's weights")
    parser.add_argument("--output_dir", default="output/critic_forms", help="for forms.md and a file for each cell")
    parser.add_argument("--forms", nargs="*", default=list(FORMS), help=f"some of: {', '.join(FORMS)}")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1])
    parser.add_argument("--steps", type=int, default=300, help="of two patches (300)")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, over those of configs/train.yaml")
    args = parser.parse_args()
    unknown = [form for form in args.forms if form not in FORMS]
    if unknown or args.steps < 1 or not args.forms or not args.seeds:
        raise BundleError(
            f"--forms {unknown or args.forms}, --seeds {args.seeds}, --steps {args.steps}; allowed: "
            f"{', '.join(FORMS)}; at least one seed; a whole number from 1 on."
        )
    folder = Path(args.output_dir)
    config = read_config(args.settings, seed=0)
    items, unseen = read_cases(args.datalist, cache_dir=config["cache_dir"])
    if len(unseen) < 2:
        raise BundleError(
            f"{args.datalist}: its validation has 1 case; at least 2 are needed, one to score, others to calibrate."
        )
    predictions = Predictions(config, args.model, folder=str(folder / "predictions"))
    cases = [item["case"] for item in unseen]
    training, scored = predictions.of(items, disturbed=True), read_records(predictions.of(unseen))
    records: list[Record] = []
    cells: dict[tuple[str, int], list[Row]] = {}
    for seed in args.seeds:
        for form in args.forms:
            path = folder / f"{form.replace(' ', '_')}_{seed}_{args.steps}.json"
            if not path.is_file():
                records = records or read_records(training)
                config = read_config(args.settings | FORMS[form], seed=seed)
                critic = train_form(config, records, steps=args.steps, seed=seed)
                write_json(path, _without_nan(score(config, critic, cases, scored)))
            cells[form, seed] = _with_nan(json.loads(path.read_text()))
            write_result(folder / "forms.md", to_markdown(cells).encode())
    print(f"{to_markdown(cells)}\n{folder / 'forms.md'}")


@torch.no_grad()
def score(config: ConfigParser, critic: VolumetricCritic, cases: Sequence[str], records: Sequence[Record]) -> list[Row]:
    """Returns the rows of `score_case` for the predictions of some cases, each judged by scales fitted on the others.

    A critic of the source is no probability that scales could mend, and keeps its own.
    """
    rows = []
    fits = config["critic_judges"] == "correctness"
    evidence = [find_evidence(critic, record) for record in records] if fits else []
    critic.scales.fill_(1)
    for index, (case, record) in enumerate(zip(cases, records)):
        if fits:
            critic.scales.copy_(fit_scales([*evidence[:index], *evidence[index + 1 :]]))
        probabilities = record["logits"].float().sigmoid()
        confidence = critic.confidence(probabilities[None], record["image"][None].float())[0]
        arrays = (probabilities > 0.5, record["label"] > 0, probabilities, confidence)
        scores = score_case(*(array.numpy() for array in arrays), spacing=[config["spacing"]] * 3)
        rows += [{"case": case} | row for row in scores]
    return rows


def to_markdown(cells: Mapping[tuple[str, int], Sequence[Row]]) -> str:
    """Returns a table with a line for each form and seed, after one for the entropy, which is the same for all."""
    first = next(iter(cells.values()))
    headings = ["form", "seed"]
    headings += [f"{name}, {reach:.0f} mm" for name in SCORES.values() for reach in ZONES.values()]
    headings += ["rank of expected Dice", "error of expected Dice", "calibration error"]
    lines = [headings, ["---"] * len(headings), ["entropy, or probabilities", "", *_entropy_cells(first), ""]]
    lines += [[*map(str, cell), *_critic_cells(cells[cell])] for cell in sorted(cells, key=_place)]
    count = len({row["case"] for row in first})
    note = (
        f"{count} cases, means over cases and regions. AUROC and AP (average precision): critic minus entropy. "
        f"Calibration error: within 10 mm. In brackets 95 % bootstrap intervals over cases. {NOT_FOR_DIAGNOSIS}"
    )
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", note]) + "\n"


def _place(cell: tuple[str, int]) -> tuple[int, int]:
    return list(FORMS).index(cell[0]), cell[1]


def _entropy_cells(rows: Sequence[Row]) -> list[str]:
    summary = summarise(rows)
    scores = [summary["zones"][zone]["all"][f"{score}_entropy"] for score in SCORES for zone in ZONES]
    expected = summary["expected_dice"]["all"]
    return [as_text(value) for value in (*scores, expected["correlation_entropy"], expected["error_entropy"])]


def _critic_cells(rows: Sequence[Row]) -> list[str]:
    zones = summarise(rows)["zones"]
    differences = [zones[zone]["all"][f"{score}_difference"] for score in SCORES for zone in ZONES]
    return [difference_as_text(difference) for difference in differences] + _with_intervals(rows)


def _with_intervals(rows: Sequence[Row]) -> list[str]:
    """Returns rank correlation, error and calibration error with their intervals over cases."""
    cases = sorted({row["case"] for row in rows})
    by_case = {case: [row for row in rows if row["case"] == case] for case in cases}
    draws = np.random.default_rng(0).choice(cases, (RESAMPLES, len(cases)))
    drawn = np.array([_statistics([row for case in draw for row in by_case[case]]) for draw in draws], float)
    low, high = np.nanpercentile(drawn, [2.5, 97.5], axis=0)
    return [f"{as_text(v)} ({a:.3f} to {b:.3f})" for v, a, b in zip(_statistics(rows), low, high)]


def _statistics(rows: Sequence[Row]) -> tuple[float | None, ...]:
    expected = expected_dice(rows)["all"]
    return expected["correlation_critic"], expected["error_critic"], calibration(rows)["neighbourhood"]["error"]


def _without_nan(rows: Sequence[Row]) -> list[Row]:
    return [{k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]


def _with_nan(rows: Sequence[Row]) -> list[Row]:
    return [{k: math.nan if v is None else v for k, v in row.items()} for row in rows]


if __name__ == "__main__":
    main()
