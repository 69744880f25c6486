# SPDX-License-Identifier: Apache-2.0
"""Virtual adversarial training (Eq. 4) as a handler for any MONAI trainer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from ignite import distributed as idist
from ignite.engine import EventEnum, Events
from monai.data import Dataset, set_rnd
from monai.engines import AdversarialTrainer, Trainer
from monai.engines.utils import IterationEvents
from monai.utils.enums import AdversarialIterationEvents
from monai.utils.enums import CommonKeys as Keys
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from scripts.base.errors import BundleError
from scripts.method.losses import bernoulli_divergence
from scripts.method.precision import at_least_float32, autocast, segmenter_scaler
from scripts.method.schedules import ramp

TARGETS = ("label", "prediction")
DIRECTIONS = ("divergence", "loss", "random")
VAT_PRED = "vat_pred"


class VirtualAdversarialHandler:
    """Virtual adversarial training for any MONAI trainer: adds the gradients of lambda_vat * L_vat to the segmenter's.

    With F the segmenter's logits for an image x, T a target and r the worst perturbation of a given size (Eq. 4):

        L_vat = D_KL(T || sigmoid(F(x + r))),    r = argmax over |r| = epsilon of D_KL(T || sigmoid(F(x + r))),

    where the argmax is taken to first order (`adversarial_direction`) and D_KL is `bernoulli_divergence`.

    For true regions, r needs no forward pass of its own. Its direction is the gradient, with respect to the image, of
    the divergence, taken from the graph of the trainer's forward pass by a backward pass to the image alone; or of the
    trainer's own loss, which the trainer's backward pass computes with the others and which costs nothing.

    L_vat is computed after the trainer's backward pass, which frees that graph, and before the optimiser's step: only
    one graph is alive at a time. Its gradients accumulate in the parameters, whatever number of batches and processes
    share the step (see `scripts.method.accumulation`). The loss is stored as `engine.state.output["vat_loss"]`, the
    logits F(x + r) as `["vat_pred"]`. With a weight of 0 no extra pass is run.

    Args:
        network: the segmenter. For "label", the trainer passes the whole batch to it in one forward pass.
        weight: lambda_vat of Eq. 2.
        epsilon: size of r, as root mean square over brain voxels and modalities of images in [0, 1].
        target: T: "label", the true regions as in the paper, or "prediction", the network's own prediction for the
            clean image (Miyato et al. 2018), which needs no label.
        direction: what r raises the most: "divergence", as in Eq. 4, or "loss", the trainer's own loss, for "label"
            only. The latter is not the first-order argmax of Eq. 4, but raises the divergence about four fifths as
            much (docs/performance.md). "random" raises nothing: normal noise, to compare the others with.
        xi: root mean square of the random perturbation at which the direction is found; for "prediction" only.
        power_iterations: number of refinements of that direction; for "prediction" only.
        start: last iteration without the loss.
        ramp_length: number of iterations in which the weight rises from 0 to `weight`.
        interval: the loss is computed in every `interval`-th iteration, with `interval` times the weight.
        seed: seed of the random perturbation. The iteration is added, so that a resumed run draws the same numbers, and
            a multiple of the process's rank, so that processes draw different ones.

    Raises:
        BundleError: if an argument is out of its range.
    """

    loss_name = "vat_loss"
    pred_name = VAT_PRED

    def __init__(
        self,
        network: nn.Module,
        *,
        weight: float,
        epsilon: float,
        target: str = "label",
        direction: str = "divergence",
        xi: float = 1e-3,
        power_iterations: int = 1,
        start: int = 0,
        ramp_length: int = 0,
        interval: int = 1,
        seed: int = 0,
    ) -> None:
        if target not in TARGETS:
            raise BundleError(f"VAT's target is '{target}'; allowed are {' and '.join(TARGETS)}.")
        if direction not in DIRECTIONS or (direction == "loss" and target != "label"):
            raise BundleError(
                f"VAT's direction is '{direction}' and its target '{target}'; allowed are the directions "
                f"{', '.join(DIRECTIONS)}, and 'loss' with the target 'label' only."
            )
        if weight < 0 or epsilon <= 0 or xi <= 0 or power_iterations < 1 or interval < 1:
            raise BundleError(
                f"VAT needs weight >= 0, epsilon > 0, xi > 0, power_iterations >= 1 and interval >= 1; "
                f"got {weight}, {epsilon}, {xi}, {power_iterations} and {interval}."
            )
        self.network = network
        self.weight = weight
        self.epsilon = epsilon
        self.target = target
        self.direction = direction
        self.xi = xi
        self.power_iterations = power_iterations
        self.start = start
        self.ramp_length = ramp_length
        self.interval = interval
        self.seed = seed
        self._image: torch.Tensor | None = None
        self._gradient: torch.Tensor | None = None

    def attach(self, engine: Trainer) -> None:
        """Registers the handler on the events around the trainer's forward and backward passes."""
        if isinstance(engine, AdversarialTrainer):
            # MONAI 1.6.1 registers these events only after attaching the handlers
            engine.register_events(*AdversarialIterationEvents)
        forward_completed, backward_completed = _events_of(engine)
        if self.target == "label" and self.direction != "random":
            engine.add_event_handler(Events.ITERATION_STARTED, self._watch_image)
        if self.direction == "divergence" and self.target == "label":
            engine.add_event_handler(forward_completed, self._differentiate)
        engine.add_event_handler(backward_completed, self)

    def __call__(self, engine: Trainer) -> None:
        """Computes the loss and adds its gradients to those of the trainer's own losses."""
        weight = self._current_weight(engine)
        if weight == 0:
            return
        with _unchanged_state(self.network, torch.device(engine.state.device)):
            image, target = self._batch(engine)
            perturbation = self._perturb(engine, image, target)
            with autocast(engine):
                logits = self.network(image + perturbation)
                loss = bernoulli_divergence(target, logits)
            segmenter_scaler(engine).scale(weight * loss).backward()
        engine.state.output |= {self.loss_name: loss.detach(), self.pred_name: logits.detach()}

    def _current_weight(self, engine: Trainer) -> float:
        iteration = engine.state.iteration
        if iteration % self.interval:
            return 0.0
        return self.interval * self.weight * ramp(iteration, start=self.start, length=self.ramp_length)

    def _batch(self, engine: Trainer) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns images x (B, modalities, H, W, D) and targets T (B, regions, H, W, D)."""
        image, label, prediction = (
            torch.as_tensor(engine.state.output[key]).detach() for key in (Keys.IMAGE, Keys.LABEL, Keys.PRED)
        )
        return image, at_least_float32(label) if self.target == "label" else at_least_float32(prediction).sigmoid()

    def _watch_image(self, engine: Trainer) -> None:
        """Makes the network's next input a leaf of the graph, so that its gradient can be taken."""
        if self._current_weight(engine) == 0:
            return

        def require_gradient(network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
            hook.remove()
            self._image = torch.as_tensor(inputs[0]).detach().requires_grad_()
            return (self._image, *inputs[1:])

        hook = self.network.register_forward_pre_hook(require_gradient)

    def _differentiate(self, engine: Trainer) -> None:
        """Takes the divergence's gradient from the graph of the trainer's forward pass."""
        if self._current_weight(engine) > 0:
            image = self._watched_image(engine)
            prediction, target = engine.state.output[Keys.PRED], self._batch(engine)[1]
            self._gradient = divergence_gradient(prediction, target, image, keep_graph=True)

    def _watched_image(self, engine: Trainer) -> torch.Tensor:
        image = self._image
        if image is None or image.shape != engine.state.output[Keys.IMAGE].shape:
            raise BundleError(
                "VAT with target 'label' needs a trainer that passes the whole batch through VAT's network at once, "
                "as with MONAI's SimpleInferer."
            )
        return image

    def _perturb(self, engine: Trainer, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        if self.direction == "random":
            return scale_to_rms(self._noise(engine, image), image, rms=self.epsilon)
        if self.target == "label":
            gradient = self._gradient if self.direction == "divergence" else self._watched_image(engine).grad
            self._image = self._gradient = None
            assert gradient is not None
            # a gradient that overflows by the scale of float16 makes the scaler skip the step, with VAT or without
            return scale_to_rms(gradient.nan_to_num(0, 0, 0), image, rms=self.epsilon)
        start = self._noise(engine, image)
        # in lower precision a step of size xi is lost to rounding
        with torch.autocast(image.device.type, enabled=False):
            for _ in range(self.power_iterations):
                start = scale_to_rms(start, image, rms=self.xi)
                start = adversarial_direction(self.network, image, target, epsilon=self.epsilon, start=start)
        return start

    def _noise(self, engine: Trainer, image: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(self._seed(engine))
        return torch.randn(image.shape, generator=generator).to(image)

    def _seed(self, engine: Trainer) -> int:
        # a prime that no run's iterations reach keeps the seeds of two processes apart
        return self.seed + engine.state.iteration + 1_000_000_007 * idist.get_rank()


class UnlabelledVirtualAdversarialHandler(VirtualAdversarialHandler):
    """Virtual adversarial training on unlabelled scans, in addition to the trainer's own labelled batches.

    Each step draws `batch_size` scans and uses the network's own prediction for them as the target T (Miyato et al.
    2018). The loss is stored as `engine.state.output["unlabelled_vat_loss"]`.

    Args:
        network: the segmenter.
        dataset: items whose `image` is (modalities, H, W, D), all of one shape.
        batch_size: number of scans per step.
        options: keyword arguments of `VirtualAdversarialHandler` except `target`.

    Raises:
        BundleError: if the data set is empty or an argument is out of its range.
    """

    loss_name = "unlabelled_vat_loss"
    pred_name = "unlabelled_vat_pred"

    def __init__(self, network: nn.Module, dataset: Dataset, *, batch_size: int = 1, **options: Any) -> None:
        super().__init__(network, target="prediction", **options)
        if not len(dataset) or batch_size < 1:
            raise BundleError(
                f"VAT has {len(dataset)} unlabelled cases and batch_size {batch_size}; both must be >= 1."
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
            return image, at_least_float32(self.network(image)).sigmoid()


def adversarial_direction(
    network: Callable[[torch.Tensor], torch.Tensor],
    image: torch.Tensor,
    target: torch.Tensor,
    *,
    epsilon: float,
    start: torch.Tensor | None = None,
) -> torch.Tensor:
    """Finds the perturbation r that raises the divergence of Eq. 4 the most, to first order.

    r = epsilon * g / RMS(g), where g = d/ds D_KL(T || sigmoid(F(x + s))) at s = `start`, on brain voxels only.

    Args:
        network: F, which returns logits (B, regions, H, W, D).
        image: x, (B, modalities, H, W, D), background exactly 0.
        target: T, (B, regions, H, W, D) in [0, 1].
        epsilon: root mean square of r over brain voxels and modalities.
        start: perturbation at which the gradient is taken, by default 0. If T is the prediction itself, the divergence
            is at its minimum at 0 and the start must be random.

    Returns:
        r, of the image's shape; exactly 0 outside the brain, and in samples whose gradient vanishes.
    """
    perturbation = torch.zeros_like(image) if start is None else start.clone()
    perturbation.requires_grad_()
    gradient = divergence_gradient(network(image + perturbation), target, perturbation)
    return scale_to_rms(gradient, image, rms=epsilon)


def divergence_gradient(
    logits: torch.Tensor, target: torch.Tensor, image: torch.Tensor, *, keep_graph: bool = False
) -> torch.Tensor:
    """Computes the gradient of N * D_KL(T || sigmoid(z)) with respect to the image, N being the number of logits z.

    At the logits that gradient is sigmoid(z) - T. It is passed on without the mean's factor 1 / N, which would make it
    underflow in float16. No gradient of a parameter is computed.

    Args:
        logits: z, (B, regions, H, W, D), with the graph that leads to `image`.
        target: T, of the same shape.
        image: (B, modalities, H, W, D), a tensor of that graph that requires a gradient.
        keep_graph: whether the graph is needed for another backward pass.

    Returns:
        The gradient, of the image's shape.
    """
    probability = at_least_float32(logits.detach()).sigmoid()
    at_logits = (probability - target).to(logits.dtype)
    (gradient,) = torch.autograd.grad(logits, image, at_logits, retain_graph=keep_graph)
    return gradient


def scale_to_rms(perturbation: torch.Tensor, image: torch.Tensor, *, rms: float) -> torch.Tensor:
    """Scales a perturbation to root mean square `rms` over each sample's brain voxels and modalities; 0 outside.

    Both are (B, modalities, H, W, D), the image with a background of exactly 0. A perturbation of 0 stays 0.
    """
    axes = (1, 2, 3, 4)
    tiny = torch.finfo(torch.float32).tiny
    brain = (image != 0).any(dim=1, keepdim=True)
    perturbation = at_least_float32(perturbation) * brain
    # squares of tiny gradients would underflow in float32
    perturbation = perturbation / perturbation.abs().amax(dim=axes, keepdim=True).clamp_min(tiny)
    values = brain.sum(dim=axes, keepdim=True) * image.shape[1]
    size = (perturbation.square().sum(dim=axes, keepdim=True) / values.clamp_min(1)).sqrt()
    return perturbation * (rms / size.clamp_min(tiny))


def _events_of(engine: Trainer) -> tuple[EventEnum, EventEnum]:
    """Returns the events after the forward and the backward pass of the trained network."""
    if isinstance(engine, AdversarialTrainer):
        events = AdversarialIterationEvents
        return events.GENERATOR_FORWARD_COMPLETED, events.GENERATOR_BACKWARD_COMPLETED
    return IterationEvents.FORWARD_COMPLETED, IterationEvents.BACKWARD_COMPLETED


@contextlib.contextmanager
def _unchanged_state(network: nn.Module, device: torch.device) -> Iterator[None]:
    """Keeps extra passes from updating running statistics and from consuming the run's random numbers."""
    norms = [m for m in network.modules() if isinstance(m, _NormBase) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
