# SPDX-License-Identifier: Apache-2.0
"""What the benchmark measures: tasks that are prepared once in a process of their own and then run again and again."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset
from monai.engines import AdversarialTrainer, SupervisedTrainer, Trainer
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import SegResNet
from monai.transforms import Compose
from monai.utils.enums import AdversarialKeys
from monai.utils.enums import CommonKeys as Keys
from torch import nn

from scripts.base.errors import BundleError
from scripts.base.settings_check import check_settings
from scripts.data.phantoms import make_cohort
from scripts.method.networks import VolumetricCritic
from scripts.tools.bundle_command import run_command

Run = Callable[[], None]

# adversaries are on from the first iteration
FROM_THE_START = {"critic_start": 0, "critic_ramp": 0, "vat_start": 0, "vat_ramp": 0, "epochs": 1, "val_interval": 1}
LOSSES = ("vat_loss", AdversarialKeys.GENERATOR_LOSS.value, AdversarialKeys.DISCRIMINATOR_LOSS.value)


@dataclass(frozen=True)
class Task:
    """A task of the benchmark.

    Args:
        name: its name in tables.
        prepare: returns the function to time; called in the process of the task, so it is a function of a module.
        options: keyword arguments of `prepare`.
        count: how many units (steps, cases) one run has; seconds are reported per unit.
    """

    name: str
    prepare: Callable[..., Run]
    options: dict[str, Any] = field(default_factory=dict)
    count: int = 1


def prepare_training(
    *,
    config_files: Sequence[str],
    settings: dict[str, Any],
    losses: Sequence[str] | None = None,
    steps: int = 1,
    phantoms: str | None = None,
) -> Run:
    """Prepares the config's own trainer; a run is an epoch of `steps` steps on random patches, or of phantoms.

    Args:
        config_files: config, then overlays.
        settings: settings that replace those of the configs.
        losses: those of `LOSSES` that a run must compute, and no others; None checks nothing.
        steps: steps on random patches per run.
        phantoms: folder of phantoms to train with instead, loading included.

    Raises:
        BundleError: by the run, if it computed other losses than `losses`.
    """
    parser = _read(config_files, settings | FROM_THE_START)
    if phantoms is None:
        parser["train"]["dataset"] = _random_patches(parser, steps)
    handlers = parser["train"]["handlers"]
    parser["train"]["handlers"] = [h for h in handlers if "VirtualAdversarialHandler" in h["_target_"]]
    return partial(_run_epoch, parser.get_parsed_content("train#trainer"), losses)


def prepare_supervised(*, config_files: Sequence[str], settings: dict[str, Any], segresnet: bool = False) -> Run:
    """Prepares MONAI's `SupervisedTrainer` with the config's segmenter, loss and optimiser, or the zoo's SegResNet."""
    parser = _read(config_files, settings)
    device = parser.get_parsed_content("device")
    network = parser.get_parsed_content("network")
    optimizer = parser.get_parsed_content("optimizer")
    if segresnet:
        network = _channels_last(_segresnet(), device)
        optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    trainer = SupervisedTrainer(
        device=device,
        max_epochs=1,
        train_data_loader=DataLoader(_random_patches(parser), batch_size=parser["batch_size"]),
        network=network,
        optimizer=optimizer,
        loss_function=parser.get_parsed_content("loss"),
        decollate=False,
        optim_set_to_none=True,
    )
    return partial(_run_epoch, trainer, None)


def prepare_stock_adversarial(*, config_files: Sequence[str], settings: dict[str, Any]) -> Run:
    """Prepares MONAI's `AdversarialTrainer` with its stock step.

    That step shows the critic the network's input as 'real', so network and critic have four output channels here.
    """
    parser = _read(config_files, settings)
    parser["network_def"]["out_channels"] = 4
    device = parser.get_parsed_content("device")
    channels = parser.get_parsed_content("critic_def#channels")
    critic = _channels_last(VolumetricCritic(regions=4, channels=channels), device)
    bce = torch.nn.functional.binary_cross_entropy_with_logits
    trainer = AdversarialTrainer(
        device=device,
        max_epochs=1,
        train_data_loader=DataLoader(_random_patches(parser, regions=4), batch_size=parser["batch_size"]),
        g_network=parser.get_parsed_content("network"),
        g_optimizer=parser.get_parsed_content("optimizer"),
        g_loss_function=lambda fake: bce(fake, torch.ones_like(fake)),
        recon_loss_function=parser.get_parsed_content("loss"),
        d_network=critic,
        d_optimizer=torch.optim.RMSprop(critic.parameters(), 5e-5),
        d_loss_function=lambda real, fake: bce(real, torch.ones_like(real)) + bce(fake, torch.zeros_like(fake)),
        decollate=False,
        optim_set_to_none=True,
    )
    return partial(_run_epoch, trainer, LOSSES[1:])


def prepare_loading(*, config_files: Sequence[str], settings: dict[str, Any], cached: bool) -> Run:
    """Prepares the loading of one training case: from its files, or from the cache with its augmentation."""
    parser = _read(config_files, settings)
    dataset = parser.get_parsed_content("train#dataset")
    if cached:
        return partial(dataset.__getitem__, 0)
    return partial(Compose(parser.get_parsed_content("train#deterministic_transforms")), dict(dataset.data[0]))


def prepare_inference(*, settings: dict[str, Any], output_dir: str) -> Run:
    """Prepares inference.yaml with untrained weights; a run is from the files of all cases to saved label maps."""
    parser = _read(["configs/inference.yaml"], settings | {"output_dir": output_dir, "handlers": []})
    evaluator = parser.get_parsed_content("evaluator")

    def run() -> None:
        shutil.rmtree(output_dir, ignore_errors=True)
        evaluator.run()
        if not list(Path(output_dir).rglob("*_seg.nii.gz")):
            raise BundleError(f"inference wrote no label map into {output_dir}.")

    return run


def prepare_command(*, name: str, settings: dict[str, Any], output_dir: str) -> Run:
    """Prepares `run inferring` or `run evaluating` with the shipped weights, as a process of its own, imports included.

    Raises:
        BundleError: by the run, with the command's last line, if the command fails.
    """
    configs = ["configs/inference.yaml"] + ["configs/evaluate.yaml"] * (name == "evaluating")

    def run() -> None:
        shutil.rmtree(output_dir, ignore_errors=True)
        run_command(name, configs, settings | {"output_dir": output_dir}, log=Path(f"{output_dir}.log"))
        if not list(Path(output_dir).rglob("*_seg.nii.gz")):
            raise BundleError(f"`run {name}` wrote no label map into {output_dir}.")

    return run


def prepare_segresnet_inference(*, shape: Sequence[int], device: str) -> Run:
    """Prepares the zoo's SegResNet on a random image in the zoo's window, the image's size rounded up to 16."""
    network = _segresnet().to(device).eval()
    image = torch.rand(1, 4, *shape, device=device)
    inferer = SlidingWindowInferer(roi_size=[-(-size // 16) * 16 for size in shape], sw_batch_size=1, overlap=0.5)

    def run() -> None:
        with torch.no_grad():
            inferer(image, network)

    return run


def make_phantoms(folder: str, *, cases: int, size: int) -> str:
    """Returns a folder of phantoms with BraTS's proportions, `size` voxels along the first axis (240 is BraTS's)."""
    return make_cohort(folder, cases=cases, shape=phantom_shape(size))


def phantom_shape(size: int) -> tuple[int, int, int]:
    """Returns the shape of such a phantom."""
    return size, size, max(32, size * 155 // 240)


def _run_epoch(trainer: Trainer, losses: Sequence[str] | None) -> None:
    seen: set[str] = set()

    def look() -> None:
        output = trainer.state.output
        assert isinstance(output, dict)
        seen.update(str(name.value if hasattr(name, "value") else name) for name in output)

    # without this, ignite would take the finished run for a new one
    trainer.state.max_epochs = trainer.state.epoch + 1
    with trainer.add_event_handler(Events.ITERATION_COMPLETED, look):
        trainer.run()
    if losses is not None and (found := seen.intersection(LOSSES)) != set(losses):
        raise BundleError(f"the step computed {sorted(found)} where its name promises {sorted(losses)}.")


def _read(config_files: Sequence[str], settings: dict[str, Any]) -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(list(config_files))
    parser.update(settings)
    check_settings(parser)
    return parser


def _random_patches(parser: ConfigParser, steps: int = 1, *, regions: int = 3) -> Dataset:
    edge = parser["patch_size"]
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(4, edge, edge, edge, generator=generator)
    label = (torch.rand(regions, edge, edge, edge, generator=generator) > 0.9).float()
    return Dataset([{Keys.IMAGE: image, Keys.LABEL: label}] * (parser["batch_size"] * steps))


def _channels_last(network: nn.Module, device: torch.device) -> nn.Module:
    return network.to(device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]


def _segresnet() -> SegResNet:
    """The network of the zoo's brats_mri_segmentation."""
    return SegResNet(
        spatial_dims=3,
        blocks_down=(1, 2, 2, 4),
        blocks_up=(1, 1, 1),
        init_filters=16,
        in_channels=4,
        out_channels=3,
        dropout_prob=0.2,
    )
