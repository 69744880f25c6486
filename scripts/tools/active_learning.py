# SPDX-License-Identifier: Apache-2.0
"""Experiment: does it pay to review the cases first that the critic trusts least?"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigWorkflow

from scripts.base.errors import BundleError, report_bundle_errors
from scripts.base.results import refuse_replacing
from scripts.base.text_files import write_csv
from scripts.base.weights import load_weights
from scripts.brats import Item
from scripts.data.cohort import Cohort
from scripts.label_app.confidence import review_metrics, score
from scripts.training.progress import dice_per_region

BUNDLE = Path(__file__).resolve().parents[2]
SMALL = {"features": 8, "critic_features": 4, "spacing": 3.0, "patch_size": 48, "batch_size": 2}
# ways of choosing: a metric of `review_metrics`, and its sign in the order (-1: largest first)
CHOICES = {"least confident": ("mean_confidence", 1), "highest entropy": ("mean_entropy", -1)}


def main() -> None:
    """Command line of the experiment.

    A small network learns from a few cases and scores the others as the server does. It is then fine-tuned as the
    server does (configs/finetune.yaml), on these few cases and those that each way of choosing adds. Every fine-tuning
    is validated on the held-out cases.
    """
    report_bundle_errors()
    parser = argparse.ArgumentParser(
        prog="python -m scripts.tools.active_learning", description="Chosen cases or random?"
    )
    parser.add_argument("dataset_dir", help="folder of labelled cases, of any BraTS layout")
    parser.add_argument("--output_dir", default="output/active_learning", help="for active_learning.csv and weights")
    parser.add_argument("--reviewed", type=int, default=8, help="cases to begin with, and as many are added (8)")
    parser.add_argument("--draws", type=int, default=5, help="fine-tunings of each way of choosing (5)")
    parser.add_argument("--epochs", type=int, default=60, help="of the first training (60)")
    parser.add_argument("--finetune_epochs", type=int, default=20, help="of each fine-tuning (20)")
    args = parser.parse_args()
    output_dir = Path(args.output_dir).resolve()
    table = output_dir / "active_learning.csv"
    refuse_replacing(table)
    cohort = Cohort(args.dataset_dir, cache_dir=str(output_dir / "cache"))
    cases = cohort.training_cases()
    training = [cases[index] for index in np.random.default_rng(0).permutation(len(cases))]
    begun, pool = training[: args.reviewed], training[args.reviewed :]
    if len(pool) < args.reviewed:
        raise BundleError(
            f"--reviewed {args.reviewed}: needs twice as many training cases, but there are {len(training)}; lower it."
        )
    steps = args.epochs * (args.reviewed // 2)
    places: dict[str, Any] = {"held_out": cohort.held_out_cases(), "cache_dir": output_dir / "cache"}
    late = {"vat_start": steps // 2, "critic_start": steps // 2, "critic_ramp": steps // 4}
    start = Training(begun, **places, output_dir=output_dir, epochs=args.epochs, **late)
    rows: list[dict[str, Any]] = [{"choice": "none", "draw": 0, **start.run(), "cases": ""}]
    print_row(rows[0])
    metrics = start.score(pool)
    for choice in ("random", *CHOICES):
        for draw in range(args.draws):
            added = choose(choice, pool, metrics, count=args.reviewed, draw=draw)
            tuned: dict[str, Any] = {"overlays": ["finetune.yaml"], "epochs": args.finetune_epochs, "seed": draw}
            tuning = Training(begun + added, **places, output_dir=output_dir / "tuned", **tuned)
            tuning.load(output_dir / "models")
            rows.append({"choice": choice, "draw": draw, **tuning.run(), "cases": " ".join(i["case"] for i in added)})
            print_row(rows[-1])
            write_csv(table, rows)
    for choice in ("random", *CHOICES):
        dice = [row["mean"] for row in rows if row["choice"] == choice]
        print(f"{choice:16}  mean Dice {np.mean(dice):.3f}, {min(dice):.3f} to {max(dice):.3f}")
    print(f"{table}. Not for diagnosis.")


class Training:
    """A training by train.yaml and overlays, on given cases, validated once at its end.

    Args:
        items: training cases.
        held_out: validation cases.
        overlays: names of configs laid over train.yaml.
        output_dir: output folder of the run; weights are written to its folder `models`.
        cache_dir: folder of the preprocessed cases.
        settings: settings in addition to `SMALL`.
    """

    def __init__(
        self,
        items: list[Item],
        held_out: list[Item],
        *,
        overlays: Sequence[str] = (),
        output_dir: Path,
        cache_dir: Path,
        **settings: Any,
    ) -> None:
        places = {"ckpt_dir": output_dir / "models", "output_dir": output_dir, "cache_dir": cache_dir}
        self.workflow = ConfigWorkflow(
            config_file=[str(BUNDLE / "configs" / name) for name in ("train.yaml", *overlays)],
            meta_file=str(BUNDLE / "configs" / "metadata.json"),
            logging_file=False,
            workflow_type="train",
            **SMALL | settings | {name: str(place) for name, place in places.items()},
            **{"train#dataset#data": items, "validate#dataset#data": held_out, "val_interval": settings["epochs"]},
        )
        self.workflow.initialize()
        self.get = self.workflow.parser.get_parsed_content

    def load(self, folder: Path) -> None:
        """Loads the weights of another run."""
        for file, network in (("model.pt", "network"), ("critic.pt", "critic")):
            load_weights(self.get(network), str(folder / file))

    def run(self) -> dict[str, float]:
        """Trains and returns the Dice of each region and their mean on the held-out cases."""
        self.get("train#trainer").run()
        return dice_per_region(self.get("validate#evaluator"))

    @torch.no_grad()
    def score(self, items: list[Item]) -> dict[str, dict[str, Any]]:
        """Returns the metrics by which the server ranks cases (`review_metrics`), by case."""
        network, critic = self.get("network").eval(), self.get("critic").eval()
        device, preprocess = self.get("device"), self.get("validate#preprocessing")
        metrics = {}
        for item in items:
            image = torch.as_tensor(preprocess(item)["image"])[None].to(device)
            prediction = network(image).sigmoid()
            probabilities, confidence = prediction[0], critic.confidence(prediction, image)[0]
            core, whole, enhancing = (probabilities > 0.5).cpu().numpy()
            labels = np.select([enhancing, core, whole], [4, 1, 2])
            arrays = (probabilities.cpu().numpy(), confidence.cpu().numpy())
            metrics[item["case"]] = review_metrics(labels, *arrays, spacing=[SMALL["spacing"]] * 3)
        return metrics


def choose(choice: str, pool: list[Item], metrics: dict[str, Any], *, count: int, draw: int) -> list[Item]:
    """Chooses cases of the pool at random or by their score; cases in which nothing was found come last."""
    if choice == "random":
        return [pool[index] for index in np.random.default_rng(draw).permutation(len(pool))[:count]]
    metric, sign = CHOICES[choice]
    scores = {case: score(found, metric) for case, found in metrics.items()}
    return sorted(pool, key=lambda item: np.inf if (s := scores[item["case"]]) is None else sign * s)[:count]


def print_row(row: dict[str, Any]) -> None:
    """Prints the Dice of one training."""
    print("{choice:16} {draw}  TC {TC:.3f}  WT {WT:.3f}  ET {ET:.3f}  mean {mean:.3f}".format(**row), flush=True)


if __name__ == "__main__":
    main()
