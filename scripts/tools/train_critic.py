# SPDX-License-Identifier: Apache-2.0
"""Trains a critic for a segmenter that is already trained, from its predictions for disturbed images."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.utils import set_determinism
from sklearn.linear_model import LogisticRegression

from scripts.base.atomic_files import to_bytes
from scripts.base.errors import BundleError, report_bundle_errors
from scripts.base.results import set_aside, write_result
from scripts.base.settings_check import check_settings
from scripts.brats import NOT_FOR_DIAGNOSIS, Item
from scripts.data.cohort import Cohort
from scripts.method.losses import CriticLoss, neighbourhood_weights
from scripts.method.networks import CERTAIN, VolumetricCritic
from scripts.method.spoilt_masks import SpoiltMasks
from scripts.tools.critic_predictions import Patches, Predictions, Record, read_records

BUNDLE = Path(__file__).resolve().parents[2]


def main() -> None:
    """Command line: predicts the training cases under disturbances, trains a critic on them and calibrates it.

    In `configs/train.yaml` the critic learns while the segmenter does. Here the segmenter stands still, so that its
    predictions are computed once. The critic's scales are fitted on cases that neither network was trained on.

    A run that was stopped keeps the predictions; the training, some ten minutes, begins anew.
    """
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.train_critic", description="A critic afterwards")
    parser.add_argument("datalist", help="data list; its validation, which the segmenter never saw, is to calibrate by")
    parser.add_argument("--model", default=str(BUNDLE / "models" / "model.pt"), help="the segmenter's weights")
    parser.add_argument("--output", default=str(BUNDLE / "models" / "critic.pt"), help="the critic's weights")
    parser.add_argument("--predictions_dir", default="output/predictions", help="where predictions are kept")
    parser.add_argument("--more_predictions", nargs="*", default=[], help="folders of other segmenters' predictions")
    parser.add_argument("--steps", type=int, default=6000, help="of two patches (6000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, over those of configs/train.yaml")
    args = parser.parse_args()
    if args.steps < 1:
        raise BundleError(f"--steps is {args.steps}; allowed: a whole number from 1 on.")
    config = read_config(args.settings, seed=args.seed)
    items, unseen = read_cases(args.datalist, cache_dir=config["cache_dir"])
    predictions = Predictions(config, args.model, folder=args.predictions_dir)
    paths = predictions.of(items, disturbed=True) + find_more(args.more_predictions)
    critic = train_form(config, read_records(paths), steps=args.steps, seed=args.seed)
    if config["critic_judges"] == "correctness":
        critic.scales.copy_(
            fit_scales([find_evidence(critic, record) for record in read_records(predictions.of(unseen))])
        )
    output = Path(args.output)
    if output.exists():  # such as the shipped weights
        set_aside(output, f"{output.stem}.previous.pt")
    write_result(output, to_bytes({name: tensor.contiguous() for name, tensor in critic.state_dict().items()}))
    print(f"{args.output}: scales {critic.scales.tolist()}. {NOT_FOR_DIAGNOSIS}")


def read_config(settings: Mapping[str, Any], *, seed: int) -> ConfigParser:
    """Returns `configs/train.yaml` with other settings, and makes what follows deterministic.

    Raises:
        BundleError: for a setting that is unknown or has a wrong value.
    """
    set_determinism(seed)
    config = ConfigParser()
    config.read_config(str(BUNDLE / "configs" / "train.yaml"))
    config.read_meta(str(BUNDLE / "configs" / "metadata.json"))
    config.update({"bundle_root": str(BUNDLE), "device": "cpu", "seed": seed, **settings})
    check_settings(config)
    config["cache_dir"] = config.get_parsed_content("cache_dir")
    return config


def read_cases(datalist: str, *, cache_dir: str) -> tuple[list[Item], list[Item]]:
    """Returns the cases of a data list's `training` and of its `validation`, which share no patient."""
    cohort = Cohort(".", datalist=datalist, cache_dir=cache_dir)
    return cohort.training_cases(), cohort.held_out_cases()


def find_more(folders: Sequence[str]) -> list[Path]:
    """Returns the files of other segmenters' predictions.

    Raises:
        BundleError: if a folder has none.
    """
    found = {folder: sorted(Path(folder).glob("*.pt")) for folder in folders}
    for folder, paths in found.items():
        if not paths:
            raise BundleError(f"--more_predictions {folder}: no predictions (.pt) in it; name the folder they are in.")
    return [path for paths in found.values() for path in paths]


def train_form(config: ConfigParser, records: Sequence[Record], *, steps: int, seed: int) -> VolumetricCritic:
    """Returns the critic of a config, trained on predictions by its loss and spoilt masks."""
    critic, loss, spoil = (config.get_parsed_content(name) for name in ("critic", "critic_loss", "spoilt_masks"))
    train(critic, records, loss=loss, spoil=spoil, steps=steps, seed=seed)
    return critic


def train(
    critic: VolumetricCritic,
    records: Sequence[Record],
    *,
    loss: CriticLoss,
    spoil: SpoiltMasks | None,
    steps: int,
    seed: int,
) -> None:
    """Trains a critic on random patches of predictions.

    In every fifth step, a critic of the correctness sees masks spoilt on purpose in their place. A critic of the
    source always sees the true masks beside the predictions, from which it shall tell them.
    """
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, steps, 0.9)
    critic.train()
    for step, batch in zip(range(steps), Patches(records, seed=seed).batches()):
        image, label, masks = batch["image"], batch["label"], batch["logits"].sigmoid()
        if spoil and step % 5 == 0:
            masks = spoil(label, step)
        if loss.judges == "source":
            masks, image = torch.cat([label, masks]), image.repeat(2, 1, 1, 1, 1)
        current = loss(critic(masks, image), masks, label)
        optimizer.zero_grad()
        current.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: critic's loss {current.item():.3f}", flush=True)
    critic.eval()


Evidence = tuple[torch.Tensor, torch.Tensor]  # scores (voxels, 1 or 2), and whether the mask is right (voxels,)


@torch.no_grad()
def find_evidence(critic: VolumetricCritic, record: Record) -> Evidence:
    """Returns what the segmenter and the critic say of the voxels around a tumour, and whether the mask is right.

    The scores are |z|, z being the segmenter's logits, and the critic's correction c, positive where it agrees; a
    critic that does not start from the certainty has only c.
    """
    critic.scales.copy_(torch.tensor([0.0, 1.0]))
    image, logits, label = (record[name][None].float() for name in ("image", "logits", "label"))
    mask = logits.sigmoid()
    weights = neighbourhood_weights(mask, label)
    near = weights > weights.max() / 2
    scores = [mask.logit(eps=CERTAIN).abs()] if critic.starts_from_certainty else []
    scores.append(critic(mask, image))
    return torch.stack([score[near] for score in scores], dim=1), ((mask > 0.5) == (label > 0.5))[near]


def fit_scales(evidence: Sequence[Evidence]) -> torch.Tensor:
    """Returns the scales a and b of the critic under which its confidence is a probability around tumours.

    They maximise the likelihood of P(right) = sigmoid(a |z| + b c): Platt's scaling, of two scores. Where there is only
    c, a is 1 and not used.

    Raises:
        BundleError: if all masks are right, or wrong, in every voxel.
    """
    scores, rights = (torch.cat(part) for part in zip(*evidence))
    if rights.all() or not rights.any():
        raise BundleError("no wrong or no right voxel near the tumours of the calibration cases; give other cases.")
    fitted = LogisticRegression(fit_intercept=False, C=1e6).fit(scores, rights)
    return torch.as_tensor([1.0, *fitted.coef_[0]][-2:], dtype=torch.float32)


if __name__ == "__main__":
    main()
