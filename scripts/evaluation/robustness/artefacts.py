# SPDX-License-Identifier: Apache-2.0
"""Artefacts of MRI in graded severities."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import AdjustContrast, Lambda, RandBiasField, RandomizableTransform, RandRicianNoise
from numpy.random import Generator

from scripts.base.errors import BundleError
from scripts.brats import MODALITIES

Transform = Callable[[torch.Tensor], Any]


@dataclass(frozen=True)
class Artefact:
    """An artefact with a size for each severity.

    Attributes:
        levels: sizes at severity 1, 2, ...
        unit: unit of the levels.
        make: returns the transform of one modality (1, H, W, D) for a level and a random generator.
        modalities: indices of the modalities that it affects.
    """

    levels: tuple[float, ...]
    unit: str
    make: Callable[[float, Generator], Transform]
    modalities: tuple[int, ...] = (0, 1, 2, 3)


def disturb(image: torch.Tensor, artefact: str, severity: int, *, case: str, seed: int = 0) -> torch.Tensor:
    """Returns a case with an artefact; equal arguments give equal results, whatever else is random.

    Each modality is a scan of its own and gets its own random parameters (position of a spike, rotation of the head,
    ...). They depend on seed, case and artefact but not on the severity, so that severity only changes the size.

    Args:
        image: (4, H, W, D) in [0, 1], background exactly 0; a `MetaTensor` also provides the voxel size.
        artefact: one of `ARTEFACTS`.
        severity: 1 to the number of levels, or 0 for the image as it is.
        case: id of the case.
        seed: seed of the random parameters.

    Returns:
        A plain tensor of the same shape, clamped to [0, 1], background 0.

    Raises:
        BundleError: if the artefact or the severity is unknown, or TorchIO is needed but not installed.
    """
    table = check_artefact(artefact)
    if not 0 <= severity <= len(table.levels):
        raise BundleError(f"severity of {artefact}: found {severity}; allowed are 0 (none) to {len(table.levels)}.")
    disturbed = torch.as_tensor(image).as_subclass(torch.Tensor).float().clone()
    if severity == 0:
        return disturbed
    brain = (disturbed != 0).any(dim=0, keepdim=True)
    for index in table.modalities:
        draw = np.random.default_rng([seed, zlib.crc32(case.encode()), zlib.crc32(artefact.encode()), index])
        transform = table.make(table.levels[severity - 1], draw)
        disturbed[index] = torch.as_tensor(transform(image[index : index + 1])).as_subclass(torch.Tensor)[0]
    return disturbed.clamp(0, 1) * brain


def check_artefact(name: str) -> Artefact:
    """Returns an artefact by its name; raises BundleError if it is unknown."""
    if name not in ARTEFACTS:
        raise BundleError(f"artefacts: found {name!r}; allowed are {', '.join(ARTEFACTS)}.")
    return ARTEFACTS[name]


def _rician(level: float, draw: Generator) -> Transform:
    return _seeded(RandRicianNoise(prob=1, std=level, sample_std=False), draw)


def _bias_field(level: float, draw: Generator) -> Transform:
    return _seeded(RandBiasField(prob=1, coeff_range=(-level, level)), draw)


def _gamma(level: float, draw: Generator) -> Transform:
    return AdjustContrast(gamma=float(level ** draw.choice((-1, 1))))


def _motion(level: float, draw: Generator) -> Transform:
    turns, shifts = draw.uniform(-level, level, (2, 3, 3))
    times = np.array([0.25, 0.5, 0.75]) + draw.uniform(-0.08, 0.08, 3)
    return _torchio("Motion", degrees=turns, translation=shifts, times=times, image_interpolation="linear")


def _ghosting(level: float, draw: Generator) -> Transform:
    ghosts, axis = int(draw.integers(3, 8)), int(draw.integers(2))
    return _torchio("Ghosting", num_ghosts=ghosts, axis=axis, intensity=level, restore=None)


def _spikes(level: float, draw: Generator) -> Transform:
    return _torchio("Spike", spikes_positions=draw.uniform(size=(2, 3)), intensity=level)


def _blur(level: float, draw: Generator) -> Transform:
    return _torchio("Blur", std=(level,) * 3)


def _low_resolution(level: float, draw: Generator) -> Transform:
    return _torchio("RandomAnisotropy", axes=(2,), downsampling=(level, level))


def _missing(level: float, draw: Generator) -> Transform:
    return Lambda(torch.zeros_like)


# severity 1 is accepted in a clinic; at 3 a radiologist would repeat the scan
ARTEFACTS: dict[str, Artefact] = {
    "noise": Artefact((0.03, 0.06, 0.12), "standard deviation of Rician noise", _rician),
    "motion": Artefact((0.7, 2, 5), "degrees and mm of three movements, at most", _motion),
    "ghosting": Artefact((0.3, 0.6, 0.9), "share of k-space planes that is lost", _ghosting),
    "spikes": Artefact((0.2, 0.5, 1), "two k-space spikes, of the spectrum's maximum", _spikes),
    "bias_field": Artefact((0.1, 0.2, 0.4), "coefficients of its polynomial, at most", _bias_field),
    "gamma": Artefact((1.25, 1.6, 2.2), "exponent, or one by it", _gamma),
    "blur": Artefact((1, 1.5, 2.5), "standard deviation in mm", _blur),
    "low_resolution": Artefact((1.5, 2.5, 4), "times thicker slices", _low_resolution),
} | {f"no_{name}": Artefact((1,), f"{name} missing", _missing, (i,)) for i, name in enumerate(MODALITIES)}


def _seeded(transform: RandomizableTransform, draw: Generator) -> Transform:
    return cast(Transform, transform.set_random_state(seed=int(draw.integers(2**32))))


def _torchio(name: str, **arguments: object) -> Transform:
    torchio = _import_torchio()
    transform = getattr(torchio, name)(**arguments)

    def apply(modality: torch.Tensor) -> torch.Tensor:
        spacing = modality.pixdim.numpy() if isinstance(modality, MetaTensor) else np.ones(3)
        # TorchIO 1.2.1 rotates about the origin of the world instead of the centre that it computes
        origin = -spacing * (np.array(modality.shape[1:]) - 1) / 2
        affine = nib.affines.from_matvec(np.diag(spacing), origin)
        scan = torchio.ScalarImage(tensor=modality.as_subclass(torch.Tensor).float(), affine=affine)
        # TorchIO advances PyTorch's random state even if nothing is random
        with torch.random.fork_rng(devices=[]):
            return transform(scan).data

    return apply


def _import_torchio() -> ModuleType:
    try:
        import torchio
    except ImportError as error:
        raise BundleError(
            "TorchIO is not installed, but motion, ghosting, spikes, blur and low_resolution need it: "
            "`pip install -r requirements-robustness.txt`, or choose others with --artefacts."
        ) from error
    return torchio
