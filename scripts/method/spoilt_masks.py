# SPDX-License-Identifier: Apache-2.0
"""Wrong masks made of true ones, from which a critic of the correctness learns what mistakes look like."""

from __future__ import annotations

from collections.abc import Callable

import torch
from ignite import distributed as idist
from monai.networks.layers import GaussianFilter
from torch.nn.functional import interpolate, max_pool3d

from scripts.method.precision import at_least_float32

# a region in the place of another: core for whole tumour, enhancing tumour for core, and so on
_EXCHANGES = ((1, 1, 2), (0, 0, 2), (0, 1, 0), (2, 1, 2))


class SpoiltMasks:
    """Spoils true masks in the ways in which segmenters fail, and makes them as soft as predictions are.

    Each sample is, with equal chance, left true, eroded, dilated, shifted, given islands, given holes, robbed of a
    region, or has regions exchanged (compare Qiu et al. 2024, QCResUNet, arXiv 2412.07156, which learns the quality of
    BraTS segmentations so). A blur and a random steepness then hide from the critic that the mask was drawn by hand:
    only what it says about the image can tell that it is wrong. All is computed on the masks' device.

    Args:
        seed: seed of the random numbers; the call's number is added, so that a resumed run repeats them, and
            a multiple of the process's rank, so that processes draw different ones.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def __call__(self, label: torch.Tensor, number: int) -> torch.Tensor:
        """Returns probabilities (B, regions, H, W, D), on both sides of 0.5.

        Args:
            label: true binary regions, of the same shape.
            number: number of the call, such as the iteration.
        """
        # a prime that no run's iterations reach keeps the seeds of two processes apart
        generator = torch.Generator().manual_seed(self.seed + number + 1_000_000_007 * idist.get_rank())
        spoilt = [_spoil(mask, generator) for mask in at_least_float32(label)[:, None]]
        return torch.cat([_soften(mask, generator) for mask in spoilt])


def _spoil(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    way = WAYS[_integer(0, len(WAYS) - 1, generator)]
    return way(mask, generator)


def _keep(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return mask


def _dilate(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    radius = _integer(1, 3, generator)
    for axis in range(3):  # the maximum over a cube is that of maxima along its axes, and much cheaper so
        size = [2 * radius + 1 if a == axis else 1 for a in range(3)]
        mask = max_pool3d(mask, size, stride=1, padding=[s // 2 for s in size])
    return mask


def _erode(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return 1 - _dilate(1 - mask, generator)


def _shift(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    steps = [_integer(-4, 4, generator) for _ in range(3)]
    return torch.roll(mask, steps, dims=(2, 3, 4))


def _add_islands(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.maximum(mask, _blobs(mask, generator))


def _make_holes(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return mask * (1 - _blobs(mask, generator))


def _lose_region(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    mask = mask.clone()
    mask[:, _integer(0, mask.shape[1] - 1, generator)] = 0
    return mask


def _exchange(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return mask[:, list(_EXCHANGES[_integer(0, len(_EXCHANGES) - 1, generator)])]


WAYS: tuple[Callable[[torch.Tensor, torch.Generator], torch.Tensor], ...] = (
    *(_keep, _erode, _dilate, _shift),
    *(_add_islands, _make_holes, _lose_region, _exchange),
)


def _blobs(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Returns smooth blobs in some regions of a mask (1, regions, H, W, D), 1 to 7 per cent of the volume."""
    coarse = torch.randn(1, 1, *[max(size // 6, 2) for size in mask.shape[2:]], generator=generator)
    noise = interpolate(coarse.to(mask), size=mask.shape[2:], mode="trilinear")
    level = noise.flatten().kthvalue(int(noise.numel() * _number(0.93, 0.99, generator))).values
    chosen = torch.rand(mask.shape[1], generator=generator) < 0.6
    return (noise > level).to(mask) * chosen.to(mask).view(1, -1, 1, 1, 1)


def _soften(mask: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    blurred = GaussianFilter(3, _number(0.5, 1.2, generator)).to(mask)(mask)
    return (blurred.logit(eps=1e-3) * _number(0.4, 1.2, generator)).sigmoid()


def _integer(low: int, high: int, generator: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=generator))


def _number(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))
