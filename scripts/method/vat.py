# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from ignite import distributed as idist
from monai.data import Dataset, set_rnd
from monai.engines import AdversarialTrainer, Trainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import AdversarialIterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from scripts.base.errors import BundleError
from scripts.method.losses import bernoulli_divergence
from scripts.method.precision import autocast, segmenter_scaler
from scripts.method.schedules import ramp

TARGETS = ("label", "prediction")


class VirtualAdversarialHandler:
    """Virtual adversarial training for any MONAI trainer: adds `weight` * Eq. 4 to the segmenter's gradients.

    It runs after the trainer's backward pass and before the optimiser's step, and backpropagates on its own, so that
    one graph is alive at a time. Gradients add up until the step, whatever number of batches and processes it is of
    (see `scripts.method.accumulation`). The loss is kept as `engine.state.output["vat_loss"]`. A weight of 0 runs no
    extra pass.

    Args:
        network: the segmenter.
        weight: lambda_vat, the factor of the loss.
        epsilon: size of the perturbation, as the root mean square over brain voxels and modalities of images in [0, 1].
        target: what the prediction for the perturbed image is held against: "label", the true regions, as the paper,
            or "prediction", the network's own for the clean image (Miyato et al. 2018), which needs no label.
        xi: size of the random first step from which the direction is found, for the target "prediction" alone.
        power_iterations: how often that step is refined.
        start: the iteration after which the loss begins.
        ramp_length: iterations in which its weight rises to the full one.
        seed: of the random first step; together with the iteration's number, so that a resumed run repeats it, and with
            the process's, so that each has its own.

    Raises:
        BundleError: when an argument is out of its range.
    """

    loss_name = "vat_loss"

    def __init__(
        self,
        network: nn.Module,
        *,
        weight: float,
        epsilon: float,
        target: str = "label",
        xi: float = 1e-3,
        power_iterations: int = 1,
        start: int = 0,
        ramp_length: int = 0,
        seed: int = 0,
    ) -> None:
        if target not in TARGETS:
            raise BundleError(f"VAT's target is '{target}'; allowed are {' and '.join(TARGETS)}.")
        if weight < 0 or epsilon <= 0 or xi <= 0 or power_iterations < 1:
            raise BundleError(
                f"VAT needs weight >= 0, epsilon > 0, xi > 0 and power_iterations >= 1; "
                f"got {weight}, {epsilon}, {xi} and {power_iterations}."
            )
        self.network = network
        self.weight = weight
        self.epsilon = epsilon
        self.target = target
        self.xi = xi
        self.power_iterations = power_iterations
        self.start = start
        self.ramp_length = ramp_length
        self.seed = seed

    def attach(self, engine: Trainer) -> None:
        """Hooks the loss in between the trainer's backward pass and its optimiser's step."""
        if isinstance(engine, AdversarialTrainer):
            # MONAI 1.6.1 registers these events only after it has attached its handlers
            engine.register_events(*AdversarialIterationEvents)
            engine.add_event_handler(AdversarialIterationEvents.GENERATOR_BACKWARD_COMPLETED, self)
        else:
            engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self)

    def __call__(self, engine: Trainer) -> None:
        """Adds the loss's gradients to those of the trainer's own losses."""
        weight = self.weight * ramp(engine.state.iteration, start=self.start, length=self.ramp_length)
        if weight == 0:
            return
        with _left_as_it_was(self.network, torch.device(engine.state.device)):
            image, target = self._batch(engine)
            perturbation = self._perturb(engine, image, target)
            with autocast(engine):
                loss = bernoulli_divergence(target, self.network(image + perturbation))
            segmenter_scaler(engine).scale(weight * loss).backward()
        engine.state.output[self.loss_name] = loss.detach()

    def _batch(self, engine: Trainer) -> tuple[torch.Tensor, torch.Tensor]:
        """Gives images (B, modalities, H, W, D), and what predictions are held against (B, regions, H, W, D)."""
        image, label, prediction = (
            torch.as_tensor(engine.state.output[key]).detach() for key in (Keys.IMAGE, Keys.LABEL, Keys.PRED)
        )
        return image, label.float() if self.target == "label" else prediction.float().sigmoid()

    def _perturb(self, engine: Trainer, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.target == "label":
            with autocast(engine):
                return adversarial_direction(self.network, image, target, epsilon=self.epsilon)
        generator = torch.Generator().manual_seed(self._seed(engine))
        start = torch.randn(image.shape, generator=generator).to(image.device)
        # a step of xi drowns in the rounding of a lower precision
        with torch.autocast(image.device.type, enabled=False):
            for _ in range(self.power_iterations):
                start = scale_to_rms(start, image, rms=self.xi)
                start = adversarial_direction(self.network, image, target, epsilon=self.epsilon, start=start)
        return start

    def _seed(self, engine: Trainer) -> int:
        # processes lie a prime apart that no run's iterations reach
        return self.seed + engine.state.iteration + 1_000_000_007 * idist.get_rank()


class UnlabelledVirtualAdversarialHandler(VirtualAdversarialHandler):
    """Virtual adversarial training on scans without truth, besides what the trainer itself is fed.

    In each step a few of them are drawn, and held against the network's own prediction for them (Miyato et al. 2018).
    The loss is kept as `engine.state.output["unlabelled_vat_loss"]`.

    Args:
        network: the segmenter.
        dataset: of items whose `image` is (modalities, H, W, D), all of one shape.
        batch_size: how many are drawn in a step.
        options: of `VirtualAdversarialHandler`, but its target.

    Raises:
        BundleError: when there is nothing to draw, or an argument is out of its range.
    """

    loss_name = "unlabelled_vat_loss"

    def __init__(self, network: nn.Module, dataset: Dataset, *, batch_size: int = 1, **options: Any) -> None:
        super().__init__(network, target="prediction", **options)
        if not len(dataset) or batch_size < 1:
            raise BundleError(
                f"VAT has {len(dataset)} cases without truth, batch_size {batch_size}; both must be >= 1."
            )
        self.dataset = dataset
        self.batch_size = batch_size

    def _batch(self, engine: Trainer) -> tuple[torch.Tensor, torch.Tensor]:
        seed = self._seed(engine)
        set_rnd(self.dataset, seed)
        drawn = torch.randint(len(self.dataset), (self.batch_size,), generator=torch.Generator().manual_seed(seed))
        images = [torch.as_tensor(self.dataset[index][Keys.IMAGE]) for index in drawn.tolist()]
        image = torch.stack(images).to(engine.state.device)
        with torch.no_grad(), autocast(engine):
            return image, self.network(image).float().sigmoid()


def adversarial_direction(
    network: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    target: torch.Tensor,
    *,
    epsilon: float,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Finds the small change of the image that raises the divergence of Eq. 4 the most, to first order.

    Args:
        network: gives logits (B, regions, H, W, D).
        image: (B, modalities, H, W, D), background exactly 0.
        target: what the divergence is measured against, (B, regions, H, W, D) in [0, 1].
        epsilon: the change's root mean square over brain voxels and modalities.
        start: the change at which the gradient is taken. By default none, right for true labels; where the target is
            the prediction itself, the divergence is at its minimum there, and the start must be a random one.

    Returns:
        The change, of the image's shape, exactly 0 outside the brain; 0 everywhere where the gradient vanishes.
    """
    change = torch.zeros_like(image) if start is None else start.clone()
    change.requires_grad_()
    divergence = bernoulli_divergence(target, network(image + change).float())
    (gradient,) = torch.autograd.grad(divergence, change)
    return scale_to_rms(gradient, image, rms=epsilon)


def scale_to_rms(change: torch.Tensor, image: torch.Tensor, *, rms: float) -> torch.Tensor:
    """Puts a change (B, modalities, H, W, D) on the brain alone and gives it the same size in every sample."""
    brain = (image != 0).any(dim=1, keepdim=True)
    change = change.float() * brain
    # a gradient averaged over millions of voxels is tiny, and its squares would vanish in float32
    change = change / change.abs().amax(dim=(1, 2, 3, 4), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    voxels = brain.sum(dim=(1, 2, 3, 4), keepdim=True) * image.shape[1]
    size = (change.square().sum(dim=(1, 2, 3, 4), keepdim=True) / voxels.clamp_min(1)).sqrt()
    return change * (rms / size.clamp_min(torch.finfo(torch.float32).tiny))


@contextlib.contextmanager
def _left_as_it_was(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Keeps the extra passes from moving running statistics and from using up the run's random numbers."""
    norms = [m for m in network.modules() if isinstance(m, _NormBase) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
