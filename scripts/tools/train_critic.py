# SPDX-License-Identifier: Apache-2.0
"""Trains a critic for a segmenter that is already trained, from its predictions for disturbed images."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from monai.data import set_track_meta
from monai.transforms import Compose
from monai.utils import set_determinism
from sklearn.linear_model import LogisticRegression
from torch import nn

from scripts.base.atomic_files import to_bytes
from scripts.base.errors import report_bundle_errors
from scripts.base.results import refuse_replacing, set_aside, write_result
from scripts.base.weights import load_weights
from scripts.brats import NOT_FOR_DIAGNOSIS, Item
from scripts.data.cohort import Cohort
from scripts.method.losses import CriticLoss, neighbourhood_weights
from scripts.method.networks import CERTAIN, VolumetricCritic
from scripts.method.spoilt_masks import SpoiltMasks
from scripts.method.vat import adversarial_direction

BUNDLE = Path(__file__).resolve().parents[2]
CONTRASTS, MISSING = 2, 2  # disturbed copies of each image


def main() -> None:
    """Command line: predicts the training cases under disturbances, trains a critic on them and calibrates it.

    In `configs/train.yaml` the critic learns while the segmenter does. Here the segmenter stands still, so that its
    predictions are computed once. The critic's scales are fitted on cases that neither network was trained on.
    """
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.train_critic", description="A critic afterwards")
    parser.add_argument("dataset_dir", help="folder of labelled cases; their training part is used")
    parser.add_argument("--calibration_dir", required=True, help="labelled cases that the segmenter never saw")
    parser.add_argument("--model", default=str(BUNDLE / "models" / "model.pt"), help="the segmenter's weights")
    parser.add_argument(
        "--output",
        default=str(BUNDLE / "models" / "critic.pt"),
        help="the critic's weights",
    )
    parser.add_argument("--predictions_dir", default="output/predictions", help="where predictions are kept")
    parser.add_argument("--more_predictions", nargs="*", default=[], help="folders of other segmenters' predictions")
    parser.add_argument("--steps", type=int, default=600, help="of two patches (600)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, over those of configs/train.yaml")
    args = parser.parse_args()
    set_determinism(args.seed)
    set_track_meta(False)
    config = ConfigParser()
    config.read_config(str(BUNDLE / "configs" / "train.yaml"))
    config.update(args.settings)
    config.read_meta(str(BUNDLE / "configs" / "metadata.json"))
    segmenter = load_weights(config.get_parsed_content("network"), args.model).eval()
    critic, preprocess = config.get_parsed_content("critic"), config.get_parsed_content("validate#preprocessing")
    folder, cache_dir = Path(args.predictions_dir), config.get_parsed_content("cache_dir")
    training = [
        path
        for item in Cohort(args.dataset_dir, cache_dir=cache_dir).training_cases()
        for path in predict(item, segmenter, preprocess, folder=folder, disturbed=True)
    ]
    training += [path for other in args.more_predictions for path in sorted(Path(other).glob("*.pt"))]
    unseen = [
        path
        for item in Cohort(args.calibration_dir, cache_dir=cache_dir).sound_cases()
        for path in predict(item, segmenter, preprocess, folder=folder)
    ]
    loss, spoil = config.get_parsed_content("critic_loss"), config.get_parsed_content("spoilt_masks")
    train(critic, training, loss=loss, spoil=spoil, steps=args.steps, seed=args.seed)
    if critic.starts_from_certainty:
        critic.scales.copy_(fit_scales(critic, unseen))
    output = Path(args.output)
    if output.exists():  # such as the shipped weights
        set_aside(output, f"{output.stem}.previous.pt")
    write_result(output, to_bytes({name: tensor.contiguous() for name, tensor in critic.state_dict().items()}))
    print(f"{args.output}: scales {critic.scales.tolist()}. {NOT_FOR_DIAGNOSIS}")


def predict(
    item: Item, segmenter: nn.Module, preprocess: Compose, *, folder: Path, disturbed: bool = False
) -> list[Path]:
    """Writes image, logits and label of a case, and of disturbed copies of its image, unless they are there.

    Returns:
        The files.
    """
    kinds = ["clean"]
    if disturbed:
        kinds += [f"contrast{i}" for i in range(CONTRASTS)] + [f"missing{i}" for i in range(MISSING)] + ["vat"]
    paths = [folder / f"{item['case']}_{kind}.pt" for kind in kinds]
    if all(path.exists() for path in paths):
        return paths
    refuse_replacing(*paths)
    data = preprocess(item)
    image, label = torch.as_tensor(data["image"]).float()[None], torch.as_tensor(data["label"])[None]
    generator = torch.Generator().manual_seed(len(item["case"]))
    for kind, path in zip(kinds, paths):
        seen = disturb(image, label, kind, segmenter=segmenter, generator=generator)
        with torch.no_grad():
            logits = segmenter(seen)
        record = {"image": (image if kind == "vat" else seen)[0].half(), "logits": logits[0].half()}
        write_result(path, to_bytes(record | {"label": label[0].to(torch.uint8)}))
    return paths


def disturb(
    image: torch.Tensor, label: torch.Tensor, kind: str, *, segmenter: nn.Module, generator: torch.Generator
) -> torch.Tensor:
    """Returns an image (1, 4, H, W, D) as it is, with other contrasts, a faint modality, or VAT's perturbation."""
    each = torch.rand(4, generator=generator).view(4, 1, 1, 1)
    if kind.startswith("contrast"):
        return image ** (2 * each - 1).exp()
    if kind.startswith("missing"):
        faint = torch.ones(4, 1, 1, 1)
        faint[each.argmax()] = max(0.0, 0.8 * float(torch.rand((), generator=generator)) - 0.3)
        return image * faint
    if kind == "vat":
        return image + adversarial_direction(segmenter, image, label.float(), epsilon=0.05)
    return image


def train(
    critic: VolumetricCritic, paths: list[Path], *, loss: CriticLoss, spoil: SpoiltMasks | None, steps: int, seed: int
) -> None:
    """Trains a critic on random patches of predictions; in every fifth step, on masks spoilt on purpose."""
    records = [torch.load(path, weights_only=True) for path in paths]
    patches = Patches(records, seed=seed)
    optimizer = torch.optim.Adam(critic.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, steps, 0.9)
    critic.train()
    for step, batch in zip(range(steps), patches.batches()):
        image, masks, label = (batch[key].float() for key in ("image", "logits", "label"))
        masks = masks.sigmoid()
        if spoil and step % 5 == 0:
            masks = spoil(label, step)
        current = loss(critic(masks, image), masks, label)
        optimizer.zero_grad()
        current.backward()
        optimizer.step()
        schedule.step()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1}: critic's loss {current.item():.3f}", flush=True)
    critic.eval()


class Patches:
    """Draws patches of 48 voxels along an edge, most of them around a true or predicted tumour.

    Args:
        records: `image`, `logits` and `label` of predictions.
        seed: seed of the draws.
    """

    def __init__(self, records: list[dict[str, torch.Tensor]], *, seed: int, edge: int = 48) -> None:
        self.records, self.edge = records, edge
        self.generator = torch.Generator().manual_seed(seed)

    def batches(self, size: int = 2) -> Iterator[dict[str, torch.Tensor]]:
        """Yields batches without end."""
        while True:
            drawn = [self._patch(self.records[self._below(len(self.records))]) for _ in range(size)]
            yield {key: torch.stack([patch[key] for patch in drawn]) for key in drawn[0]}

    def _patch(self, record: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        shape = record["label"].shape[1:]
        centres = ((record["label"][1] > 0) | (record["logits"][1] > 0)).nonzero()
        corner = [self._below(max(side - self.edge, 0) + 1) for side in shape]
        if len(centres) and self._below(6):
            centre = centres[self._below(len(centres))].tolist()
            drawn = [c - self._below(self.edge) for c in centre]
            corner = [min(max(c, 0), max(side - self.edge, 0)) for c, side in zip(drawn, shape)]
        box = (slice(None), *(slice(c, c + self.edge) for c in corner))
        axes = [axis for axis in (1, 2, 3) if self._below(2)]
        fill = {"image": 0, "logits": -8, "label": 0}
        return {key: _padded(record[key][box], self.edge, fill[key]).flip(axes) for key in fill}

    def _below(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self.generator))


def _padded(patch: torch.Tensor, edge: int, value: float) -> torch.Tensor:
    missing = [edge - side for side in reversed(patch.shape[1:])]
    return nn.functional.pad(patch, [length for side in missing for length in (0, side)], value=value)


@torch.no_grad()
def fit_scales(critic: VolumetricCritic, paths: list[Path]) -> torch.Tensor:
    """Returns the scales a and b of the critic under which its opinion is a probability around tumours.

    They maximise the likelihood of P(Y_v = 1) = sigmoid(a z_v + b c_v), z being the segmenter's logits and c their
    correction by the critic: Platt's scaling, of two scores.
    """
    scores, truths = [], []
    critic.scales.copy_(torch.tensor([0.0, 1.0]))
    for path in paths:
        record = {key: tensor[None].float() for key, tensor in torch.load(path, weights_only=True).items()}
        mask = record["logits"].sigmoid()
        weights = neighbourhood_weights(mask, record["label"])
        near = weights > weights.min()
        side = torch.where(mask > 0.5, 1.0, -1.0)
        correction = side * critic(mask, record["image"])
        scores.append(torch.stack([mask.logit(eps=CERTAIN)[near], correction[near]], dim=1))
        truths.append(record["label"][near])
    fitted = LogisticRegression(fit_intercept=False, C=1e6).fit(torch.cat(scores), torch.cat(truths))
    return torch.as_tensor(fitted.coef_[0], dtype=torch.float32)


if __name__ == "__main__":
    main()
