# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import functools
from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.data import DataLoader, Dataset
from monai.engines import AdversarialTrainer, SupervisedEvaluator, SupervisedTrainer
from monai.losses import DiceLoss
from monai.networks.nets import BasicUNet
from monai.transforms import Activationsd, AsDiscreted, Compose, CopyItemsd, MapTransform
from torch import nn

from scripts.evaluation.metrics.brats_metric import BratsMetricHandler
from scripts.method.losses import AdversarialLoss, CriticLoss, bernoulli_divergence
from scripts.method.networks import VolumetricCritic
from scripts.method.reciprocal_step import ReciprocalStep
from scripts.method.vat import VirtualAdversarialHandler

EDGE = 16


def make_segmenter(seed: int = 0) -> BasicUNet:
    torch.manual_seed(seed)
    return BasicUNet(
        spatial_dims=3,
        in_channels=4,
        out_channels=3,
        features=(8, 8, 8, 8, 8, 8),
        norm=("group", {"num_groups": 4}),
        act=("relu", {"inplace": True}),
        upsample="nontrainable",
    )


def make_trained_segmenter() -> BasicUNet:
    """A segmenter of its own that has seen its task, so that its predictions depend on the image."""
    return copy.deepcopy(_train_segmenter())


@functools.cache
def _train_segmenter() -> BasicUNet:
    segmenter = make_segmenter()
    image, label = make_batch(4)
    optimizer = torch.optim.Adam(segmenter.parameters(), 1e-2)
    for _ in range(20):
        optimizer.zero_grad()
        bernoulli_divergence(label, segmenter(image)).backward()
        optimizer.step()
    return segmenter


def make_voxelwise_segmenter(bias: float = -5.0) -> nn.Conv3d:
    """Takes every voxel for tumour whose image is brighter than -0.1 `bias`: at -5, it finds WT of `make_cases`."""
    network = nn.Conv3d(4, 3, 1)
    nn.init.constant_(network.weight, 2.5)
    nn.init.constant_(network.get_parameter("bias"), bias)
    return network


def make_critic(seed: int = 1) -> VolumetricCritic:
    torch.manual_seed(seed)
    return VolumetricCritic(channels=(4, 8, 8))


class FrozenBatchNorm(nn.BatchNorm3d):
    """A norm that is the same however a batch is divided: by its running statistics, also in training."""

    def train(self, mode: bool = True) -> FrozenBatchNorm:
        return super().train(False)


def freeze_norms(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.__class__ = FrozenBatchNorm
    return network


def make_cases(count: int = 4, seed: int = 2, *, brain_radius: float = 7.5) -> list[dict[str, Any]]:
    """Images (4, 16, 16, 16), background 0 around a brain, and a bright nested tumour (3, 16, 16, 16)."""
    generator = torch.Generator().manual_seed(seed)
    axes = torch.meshgrid(*[torch.arange(EDGE) - EDGE / 2] * 3, indexing="ij")
    distance = torch.stack(axes).norm(dim=0)
    cases = []
    for _ in range(count):
        label = torch.stack([distance < 4, distance < 6, distance < 2.5]).float()
        image = 0.2 + 0.5 * label[1] + 0.1 * torch.rand(4, EDGE, EDGE, EDGE, generator=generator)
        cases.append({"image": image * (distance < brain_radius), "label": label})
    return cases


def make_exact_cases(count: int) -> list[dict[str, Any]]:
    """Cases in float64 without a constant background, where max-pooling would meet ties.

    There the last bit decides which of two equally right gradients it returns.
    """
    return in_float64(make_cases(count, brain_radius=torch.inf))


def in_float64(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value.double() for key, value in case.items()} for case in cases]


def make_batch(size: int = 2, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    cases = make_cases(size, seed)
    return torch.stack([c["image"] for c in cases]), torch.stack([c["label"] for c in cases])


def make_loader(cases: list[dict[str, Any]] | None = None, *, batch_size: int = 2) -> DataLoader:
    return DataLoader(Dataset(cases or make_cases()), batch_size=batch_size, shuffle=False)


def make_reciprocal_trainer(
    segmenter: nn.Module,
    critic: nn.Module,
    *,
    handlers: list[Any] | None = None,
    loader: DataLoader | None = None,
    epochs: int = 1,
    amp_dtype: torch.dtype | None = None,
    eps: float = 1e-8,
    judges: str = "source",
    balanced: bool = False,
    learning_rates: tuple[float, float] = (2e-4, 5e-5),
    **step: Any,
) -> AdversarialTrainer:
    return AdversarialTrainer(
        device="cpu",
        max_epochs=epochs,
        train_data_loader=loader or make_loader(),
        g_network=segmenter,
        g_optimizer=torch.optim.Adam(segmenter.parameters(), learning_rates[0], eps=eps),
        g_loss_function=AdversarialLoss(judges=judges, balanced=balanced),
        recon_loss_function=DiceLoss(sigmoid=True, smooth_nr=1, smooth_dr=1),
        d_network=critic,
        d_optimizer=torch.optim.RMSprop(critic.parameters(), learning_rates[1], eps=eps),
        d_loss_function=CriticLoss(judges=judges, balanced=balanced),
        iteration_update=ReciprocalStep(**step),
        train_handlers=handlers or [],
        decollate=False,
        amp=amp_dtype is not None,
        amp_kwargs={"dtype": amp_dtype} if amp_dtype else None,
    )


def make_adversarial_trainer(**options: Any) -> AdversarialTrainer:
    """All four losses from the first iteration on, two iterations an epoch."""
    segmenter = make_segmenter()
    vat = VirtualAdversarialHandler(segmenter, weight=0.2, epsilon=0.03)
    return make_reciprocal_trainer(segmenter, make_critic(), handlers=[vat], lambda_critic=0.3, **options)


def make_supervised_trainer(
    segmenter: nn.Module,
    *,
    handlers: list[Any] | None = None,
    loader: DataLoader | None = None,
    amp_dtype: torch.dtype | None = None,
) -> SupervisedTrainer:
    return SupervisedTrainer(
        device="cpu",
        max_epochs=1,
        train_data_loader=loader or make_loader(),
        network=segmenter,
        optimizer=torch.optim.Adam(segmenter.parameters(), 2e-4),
        loss_function=DiceLoss(sigmoid=True, smooth_nr=1, smooth_dr=1),
        train_handlers=handlers or [],
        decollate=False,
        amp=amp_dtype is not None,
        amp_kwargs={"dtype": amp_dtype} if amp_dtype else None,
    )


def make_evaluator(
    segmenter: nn.Module, *, cases: list[dict[str, Any]] | None = None, handlers: list[Any] | None = None
) -> SupervisedEvaluator:
    """Validates as train.yaml does: Dice of the regions is the key metric, probabilities are kept."""
    regions = [
        Activationsd("pred", sigmoid=True),
        CopyItemsd("pred", names="probabilities"),
        AsDiscreted("pred", threshold=0.5),
    ]
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(cases or make_cases()), batch_size=1),
        network=segmenter,
        postprocessing=Compose(regions),
        key_val_metric={"mean_dice": BratsMetricHandler(metrics=["dice"])},
        val_handlers=handlers or [],
    )


class AddTexture(MapTransform):
    """Adds waves to the image, so that no region is constant; see `make_exact_cases`."""

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            waves = torch.arange(item[key].numel(), dtype=torch.float64).sin()
            item[key] = item[key] + 0.01 * waves.reshape(item[key].shape)
        return item


def snapshot(network: nn.Module) -> dict[str, torch.Tensor]:
    """Copies every parameter and buffer."""
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def changed(network: nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
    """Names the parameters and buffers that differ from a snapshot."""
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
