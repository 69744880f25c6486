# SPDX-License-Identifier: Apache-2.0
"""Evaluates checkpoints on disturbed images."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import PathLike
from monai.data import Dataset
from monai.metrics import compute_dice
from torch import nn
from tqdm import tqdm

from scripts.base.errors import BundleError
from scripts.base.results import write_result
from scripts.base.text_files import write_csv, write_json
from scripts.base.weights import load_copies
from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS
from scripts.evaluation.robustness.artefacts import ARTEFACTS, check_artefact, disturb
from scripts.evaluation.robustness.attacks import ADVERSARIES, ATTACKS
from scripts.evaluation.robustness.curves import CLEAN, Condition, summarise
from scripts.evaluation.robustness.plots import draw_curves
from scripts.evaluation.robustness.section import robustness_table


class RobustnessEvaluation:
    """Compares checkpoints on images with artefacts of graded severity and with adversarial changes of graded size.

    Dice is computed at the working resolution, to which the truth is resampled, with BraTS's rule for empty regions
    (both empty: 1, one empty: 0). Artefacts and random changes are the same for every checkpoint. Attacks are
    white-box: each checkpoint is attacked with its own gradient.

    Args:
        dataset: items with `case`, `image` (4, H, W, D) in [0, 1] and `label` (3, H, W, D) in {0, 1}.
        networks: the checkpoints by name.
        inferer: called with image and network, returns logits.
        artefacts: names of artefacts, keys of `scripts.evaluation.robustness.artefacts.ARTEFACTS`; None for all.
        severities: severities of the artefacts, from 1; missing modalities have only one and are always run.
        norms: RMS of the adversarial changes over brain voxels; an empty list leaves them out.
        seed: seed of artefacts and random changes.
        output_dir: folder of robustness.csv, robustness.json and robustness.png.
        device: device of the networks.

    Raises:
        BundleError: if an artefact, a severity or a norm is unknown or out of range.
    """

    def __init__(
        self,
        dataset: Dataset,
        networks: Mapping[str, nn.Module],
        *,
        inferer: Callable[[torch.Tensor, nn.Module], torch.Tensor],
        artefacts: Sequence[str] | None = None,
        severities: Sequence[int] = (1, 2, 3),
        norms: Sequence[float] = (0.01, 0.02, 0.03, 0.05),
        seed: int = 0,
        output_dir: PathLike,
        device: torch.device,
    ) -> None:
        self.dataset = dataset
        self.networks = networks
        self.inferer = inferer
        self.artefacts = artefact_conditions(list(ARTEFACTS) if artefacts is None else artefacts, severities)
        self.attacks = attack_conditions(norms)
        self.seed = seed
        self.folder = Path(output_dir)
        self.device = device

    def results_of(self, cases: Sequence[str]) -> list[Path]:
        """Returns the paths of the files."""
        return [self.folder / f"robustness.{suffix}" for suffix in ("csv", "json", "png")]

    def run(self) -> None:
        """Evaluates all cases, disturbances and checkpoints, and writes the files; one case is in memory at a time."""
        conditions = [CLEAN, *self.artefacts, *self.attacks]
        dice = {name: {c: np.zeros((len(self.dataset), len(REGIONS))) for c in conditions} for name in self.networks}
        cases = []
        with tqdm(total=len(self.dataset) * len(conditions) * len(self.networks), desc="robustness") as bar:
            for index in range(len(self.dataset)):
                item = self.dataset[index]
                cases.append(str(item["case"]))
                for condition in conditions:
                    bar.set_postfix_str(f"{cases[-1]}, {condition[0]} {condition[1]:g}")
                    disturbed = self._disturb(item, condition)
                    for name, network in self.networks.items():
                        dice[name][condition][index] = self._dice(disturbed(network), item["label"], network)
                        bar.update()
        self._write(cases, dice)

    def _disturb(self, item: Mapping[str, Any], condition: Condition) -> Callable[[nn.Module], torch.Tensor]:
        """Returns a function that returns the disturbed image (1, 4, H, W, D) for a network."""
        kind, severity = condition
        image = _plain(item["image"])
        if kind not in ATTACKS:
            if condition != CLEAN:
                image = disturb(item["image"], kind, int(severity), case=str(item["case"]), seed=self.seed)
            shown = image[None].to(self.device)
            return lambda network: shown
        clean, truth = image[None].to(self.device), _plain(item["label"])[None].to(self.device)
        seed = zlib.crc32(f"{self.seed} {item['case']}".encode())

        def attack(network: nn.Module) -> torch.Tensor:
            # through the inferer, so that the gradient is that of the evaluated prediction
            change = ATTACKS[kind](lambda x: self.inferer(x, network), clean, truth, rms=severity, seed=seed)
            return clean + change

        return attack

    def _dice(self, image: torch.Tensor, truth: torch.Tensor, network: nn.Module) -> np.ndarray:
        with torch.no_grad():
            logits = self.inferer(image, network)
        prediction = (_plain(logits) > 0).float().cpu()  # a probability above 0.5
        return compute_dice(prediction, _plain(truth)[None], ignore_empty=False)[0].numpy()

    def _write(self, cases: Sequence[str], dice: Mapping[str, Mapping[Condition, np.ndarray]]) -> None:
        rows = [
            {
                "checkpoint": name,
                "artefact": kind,
                "severity": severity,
                "case": cases[case],
                "region": REGIONS[region],
                "dice": values[case, region],
            }
            for name, table in dice.items()
            for (kind, severity), values in table.items()
            for case, region in np.ndindex(values.shape)
        ]
        summary = {
            "note": NOT_FOR_DIAGNOSIS,
            "cases": len(cases),
            "seed": self.seed,
            "resolution": "working",
            "sizes": {name: {"levels": a.levels, "unit": a.unit} for name, a in ARTEFACTS.items()},
            "checkpoints": summarise(dice, {"artefacts": list(ARTEFACTS), "adversarial": list(ADVERSARIES)}),
        }
        write_csv(self.folder / "robustness.csv", rows)
        write_json(self.folder / "robustness.json", summary)
        write_result(self.folder / "robustness.png", draw_curves(summary))
        print(f"{robustness_table(summary)}\n{self.folder / 'robustness.json'}")


def load_networks(
    network: nn.Module, checkpoints: Mapping[str, str] | Sequence[str] | str | None, *, default: str
) -> dict[str, nn.Module]:
    """Returns a frozen copy of a network for each checkpoint, by name.

    Args:
        network: the network to copy.
        checkpoints: paths by name, or paths, which are then also the names, or None for the default.
        default: path of the default checkpoint.

    Raises:
        BundleError: if there is no checkpoint, or a file does not fit the network.
    """
    paths = {"model": default} if checkpoints is None else checkpoints
    if isinstance(paths, str):
        paths = [paths]
    named = dict(paths) if isinstance(paths, Mapping) else {str(path): path for path in paths}
    if not named:
        raise BundleError("checkpoints: found none; name at least one model.pt, or leave the setting at null.")
    copies = load_copies(network, [str(path) for path in named.values()])
    return {str(name): one.requires_grad_(False) for name, one in zip(named, copies)}


def artefact_conditions(artefacts: Sequence[str], severities: Sequence[int]) -> list[Condition]:
    """Returns the artefacts at the given severities; an artefact with a single level has only that."""
    conditions: list[Condition] = []
    for name in artefacts:
        count = len(check_artefact(name).levels)
        for severity in severities if count > 1 else [1]:
            if severity not in range(1, count + 1):
                raise BundleError(f"severities: found {severity}; allowed are whole numbers from 1 to {count}.")
            conditions.append((name, float(severity)))
    return conditions


def attack_conditions(norms: Sequence[float]) -> list[Condition]:
    """Returns all attacks at the given norms."""
    for norm in norms:
        if not 0 < norm <= 1:
            raise BundleError(f"norms: found {norm}; allowed are sizes above 0 and up to 1, of images in [0, 1].")
    return [(name, float(norm)) for name in ATTACKS for norm in norms]


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(tensor).as_subclass(torch.Tensor).float()
