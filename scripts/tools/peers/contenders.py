# SPDX-License-Identifier: Apache-2.0
"""Networks that configs/train.yaml trains, for a given time each."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from scripts.base.results import write_result
from scripts.base.text_files import write_json
from scripts.base.weights import load_weights
from scripts.data.datalist import read_datalist
from scripts.tools.bundle_command import BUNDLE, run_command
from scripts.tools.evidence.arms import NO_CRITIC, NO_VAT, Settings, schedule
from scripts.tools.evidence.cells import EVALUATE

SEGRESNET = """\
# MONAI's SegResNet, of the size that the model zoo's brats_mri_segmentation has
network_def:
  _target_: SegResNet
  spatial_dims: 3
  in_channels: 4
  out_channels: 3
  init_filters: 16
  blocks_down: [1, 2, 2, 4]
  blocks_up: [1, 1, 1]
  dropout_prob: 0.2
"""
OWN_START: Settings = {"initial_foreground_probability": "null"}  # it has another last layer
OF_BOTH = ("features", "spacing", "patch_size")  # settings of train.yaml and of inference.yaml
PROBE = 3  # epochs that are timed


@dataclass(frozen=True)
class Contender:
    """A training by configs/train.yaml.

    Attributes:
        settings: over those of train.yaml; those of networks and input also over those of inference.yaml.
        overlay: YAML that is laid over both, if any.
        windows: whether images are segmented by windows, for networks that take no whole brain of any size.
    """

    settings: Settings = field(default_factory=dict)
    overlay: str = ""
    windows: bool = False

    def run(self, datalist: Path, folder: Path, *, minutes: float) -> None:
        """Trains for about so many minutes on one core, evaluates, and writes `cost.json`.

        Args:
            datalist: its `training` is trained on, its `validation` evaluated at the end.
            folder: of everything that is written.
            minutes: of the training; how many epochs they hold is measured first.
        """
        overlay = folder / "overlay.yaml"
        write_result(overlay, (self.overlay or "{}\n").encode())
        steps = len(read_datalist(str(datalist))[0]) // self.settings.get("batch_size", 2)
        epochs = max(1, round(minutes * 60 / self._epoch_seconds(datalist, folder, overlay)))
        taken = self._train(datalist, folder, overlay, epochs=epochs, timing=schedule(epochs * steps))
        inference = {name: value for name, value in self.settings.items() if name in OF_BOTH}
        inference |= {"max_whole_brain_voxels": 0} if self.windows else {}
        common = inference | {"ckpt_dir": folder, "split": datalist, "confidence": False, "html": False}
        configs = [*EVALUATE, str(overlay)]
        log = folder / "evaluating.log"
        run_command("evaluating", configs, common | {"output_dir": folder / "evaluated"}, log=log, threads=1)
        cost = {"minutes": taken / 60, "steps": epochs * steps}
        write_json(folder / "cost.json", cost | self._cost_of_a_case(datalist, folder, configs, inference))

    def _epoch_seconds(self, datalist: Path, folder: Path, overlay: Path) -> float:
        """Returns the seconds of an epoch with everything on: start and end of a command cancel out."""
        on = {"vat_start": 0, "critic_start": 0, "critic_ramp": 0}
        # the first one also fills the cache
        _, short, long = (
            self._train(datalist, folder / f"probe_{number}", overlay, epochs=epochs, timing=on)
            for number, epochs in enumerate((1, 1, 1 + PROBE))
        )
        return max(long - short, 1e-3) / PROBE

    def _train(self, datalist: Path, folder: Path, overlay: Path, *, epochs: int, timing: Settings) -> float:
        """Returns the seconds that a training takes."""
        places = {"output_dir": folder, "ckpt_dir": folder, "datalist": datalist}
        settings = timing | self.settings | places | {"epochs": epochs, "val_interval": epochs}
        settings |= {"validate#inferer#max_whole_brain_voxels": 0} if self.windows else {}
        start = time.perf_counter()
        configs = ["configs/train.yaml", str(overlay)]
        run_command("training", configs, settings, log=folder / "training.log", threads=1)
        return time.perf_counter() - start

    def _cost_of_a_case(self, datalist: Path, folder: Path, configs: list[str], settings: Settings) -> dict[str, Any]:
        """Returns the network's parameters in millions, and its mean seconds for a case of the validation."""
        config = ConfigParser()
        config.read_config([str(BUNDLE / path) for path in configs])
        config.update({"bundle_root": str(BUNDLE), "device": "cpu", **settings})
        network = load_weights(config.get_parsed_content("segmenter"), str(folder / "model.pt")).eval()
        inferer, preprocess = (config.get_parsed_content(name) for name in ("brain_inferer", "image_preprocessing"))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        seconds = []
        for item in read_datalist(str(datalist))[1]:
            image = preprocess(item)["image"][None]
            start = time.perf_counter()
            with torch.no_grad():
                inferer(image, network)
            seconds.append(time.perf_counter() - start)
        torch.set_num_threads(threads)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        return {"parameters_million": parameters / 1e6, "case_seconds": sum(seconds) / len(seconds)}


PATCH: Settings = {"patch_size": 64}  # of training, and of the windows
AT_2_MM: Settings = PATCH | {"spacing": 2.0}
DICE_ALONE = AT_2_MM | NO_VAT | NO_CRITIC
CONTENDERS: dict[str, Contender] = {
    "train.yaml: 16 features, 2 mm, Dice, VAT and critic": Contender(AT_2_MM),
    "the same, Dice alone": Contender(DICE_ALONE),
    "24 features": Contender(AT_2_MM | {"features": 24}),
    "1.5 mm": Contender(PATCH | {"spacing": 1.5}),
    "SegResNet of the model zoo, 2 mm, Dice alone": Contender(DICE_ALONE | OWN_START, SEGRESNET, windows=True),
}
