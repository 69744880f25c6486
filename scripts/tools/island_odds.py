# SPDX-License-Identifier: Apache-2.0
"""Fits what tells true islands from false ones, on the predictions that a critic was trained from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict

from scripts.base.errors import BundleError, report_bundle_errors
from scripts.base.weights import load_weights
from scripts.brats import NOT_FOR_DIAGNOSIS
from scripts.evaluation.reliability.islands import SIZES, count_doubted, doubted_as_text, is_true
from scripts.inference.islands import describe_islands, evidence
from scripts.method.networks import VolumetricCritic
from scripts.tools.critic_predictions import Predictions, read_records
from scripts.tools.train_critic import BUNDLE, read_cases, read_config

LOST = 0.1  # share of the true islands that may be removed
FOLDS = 8  # over patients


def main() -> None:
    """Command line: prints the log-odds and the threshold for `scripts.inference.islands`, and what they reach.

    The odds are fitted on the islands of the training cases' predictions, disturbed ones included. The threshold is the
    one below which a tenth of the true islands lie when each fold is judged by the odds of the others.
    """
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.island_odds", description="True or false islands")
    parser.add_argument("datalist", help="data list; its validation, which the segmenter never saw, is to judge by")
    parser.add_argument("--model", default=str(BUNDLE / "models" / "model.pt"), help="the segmenter's weights")
    parser.add_argument("--critic", default=str(BUNDLE / "models" / "critic.pt"), help="the critic's weights")
    parser.add_argument("--predictions_dir", default="output/predictions", help="where predictions are kept")
    args = parser.parse_args()
    config = read_config({}, seed=0)
    critic: VolumetricCritic = config.get_parsed_content("critic").eval()
    load_weights(critic, args.critic)
    predictions = Predictions(config, args.model, folder=args.predictions_dir)
    items, unseen = read_cases(args.datalist, cache_dir=config["cache_dir"])
    training = find_islands(critic, predictions.of(items, disturbed=True), spacing=config["spacing"])
    others = find_islands(critic, predictions.of(unseen), spacing=config["spacing"])
    fit, threshold, judged = fit_odds(training)
    print(f"ODDS = {np.round(fit.coef_[0], 2).tolist()}, DOUBTED = {threshold:.2f}")
    print(f"{describe(training, judged, threshold)}; the folds that were left out")
    print(f"{describe(others, _probabilities(fit, others), threshold)}; cases that no network saw. {NOT_FOR_DIAGNOSIS}")


@torch.no_grad()
def find_islands(critic: VolumetricCritic, paths: Sequence[Path], *, spacing: float) -> list[dict[str, Any]]:
    """Returns the islands of predictions, of at least the smallest of `SIZES`, with their `case`."""
    islands = []
    for path in paths:
        (record,) = read_records([path])
        mask = record["logits"].float().sigmoid()
        confidence = critic.confidence(mask[None], record["image"][None].float())[0].numpy()
        for region, certain, truth in zip(mask.numpy() > 0.5, confidence, record["label"].numpy() > 0):
            for island, _ in describe_islands(region, certain, np.diag([spacing] * 3 + [1]), truth):
                if island["volume_ml"] >= min(SIZES):
                    islands.append({**island, "case": path.stem.rsplit("_", 1)[0]})
    return islands


def fit_odds(islands: Sequence[dict[str, Any]]) -> tuple[LogisticRegression, float, np.ndarray]:
    """Returns the fitted odds, the threshold, and the probability of each island by the odds of the other folds.

    Raises:
        BundleError: if there are too few true or false islands to fit anything.
    """
    scores, true = _scores(islands), _true(islands)
    cases = [island["case"] for island in islands]
    if min(true.sum(), (~true).sum()) < FOLDS or len(set(cases)) < FOLDS:
        raise BundleError(
            f"{true.sum()} true and {(~true).sum()} false islands in {len(set(cases))} cases: at least {FOLDS} each."
        )
    model = LogisticRegression(fit_intercept=False)
    folds = GroupKFold(FOLDS)
    judged = cross_val_predict(model, scores, true, groups=cases, cv=folds, method="predict_proba")[:, 1]
    return model.fit(scores, true), float(np.quantile(judged[true], LOST)), judged


def describe(islands: Sequence[dict[str, Any]], probabilities: np.ndarray, threshold: float) -> str:
    """Returns in words how many true and false islands have a probability below the threshold, for each of `SIZES`."""
    true = _true(islands)
    judged = [{**island, "probability": p} for island, p in zip(islands, probabilities)]
    words = [doubted_as_text(counts) for counts in count_doubted(judged, threshold=threshold)]
    area = f"{roc_auc_score(true, probabilities):.3f}" if 0 < true.sum() < len(true) else "n/a"
    return f"{'; '.join(words)}; AUROC {area}"


def _probabilities(fit: LogisticRegression, islands: Sequence[dict[str, Any]]) -> np.ndarray:
    return fit.predict_proba(_scores(islands))[:, 1] if islands else np.zeros(0)


def _scores(islands: Sequence[dict[str, Any]]) -> np.ndarray:
    return np.array([evidence(island) for island in islands])


def _true(islands: Sequence[dict[str, Any]]) -> np.ndarray:
    return np.array([is_true(island) for island in islands], bool)


if __name__ == "__main__":
    main()
