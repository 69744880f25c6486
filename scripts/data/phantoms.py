# SPDX-License-Identifier: Apache-2.0
"""Synthetic brains with a glioma, which stand in for patients in the demo and in tests."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from scripts.base.errors import BundleError, report_bundle_errors

VERSION = 1  # increased whenever the same arguments give other images
FIELD_OF_VIEW = 240.0  # mm along the first axis, as in BraTS
WHITE_MATTER = {"t1": 520.0, "t1ce": 680.0, "t2": 310.0, "flair": 240.0}  # scanner units
APPEARANCE = {  # of the other tissues, relative to white matter
    "nuclei": (0.86, 0.88, 1.20, 1.08),
    "cortex": (0.78, 0.82, 1.40, 1.25),
    "gliosis": (0.93, 0.93, 1.45, 1.45),
    "csf": (0.38, 0.38, 2.60, 0.45),
    "vessel": (0.60, 1.60, 0.60, 0.70),
    "oedema": (0.84, 0.84, 1.90, 1.60),
    "core": (0.62, 0.60, 2.30, 1.45),
    "enhancing": (0.80, 1.75, 1.75, 1.55),
    "necrosis": (0.55, 0.48, 2.40, 1.10),
}
LABEL_OF_TISSUE = {"oedema": 2, "core": 1, "enhancing": 4, "necrosis": 1}  # values of brats.TISSUES
Array = np.ndarray
Layers = dict[str, Array]  # depth in mm of each voxel inside each tissue; a later tissue covers an earlier one
Noise = Callable[[float], Array]


def make_phantom(seed: int, *, shape: Sequence[int] = (96, 96, 80), enhancing: bool = True) -> tuple[Array, Array]:
    """Draws a skull-stripped brain with one glioma, oriented as in BraTS; a seed is one anatomy at any resolution.

    Args:
        seed: of anatomy, contrast and noise; the same arguments give the same bits.
        shape: voxels along the axes, 240 mm along the first; (240, 240, 155) is BraTS at 1 mm.
        enhancing: whether the core is an enhancing rim around necrosis; otherwise all of it is label 1.

    Returns:
        Images, int16 (4, *shape): T1, T1ce, T2, FLAIR, 0 outside the brain, above 0 inside; labels, uint8 (*shape).
    """
    rng = np.random.default_rng(seed)
    voxel = FIELD_OF_VIEW / shape[0]
    axes = [voxel * (np.arange(size) - (size - 1) / 2) for size in shape]
    noise = partial(_noise, rng, axes)
    brain, layers = _anatomy(rng, noise, axes, enhancing)
    label = np.zeros(brain.shape, np.uint8)
    for tissue, depth in layers.items():
        label[brain & (depth > 0)] = LABEL_OF_TISSUE.get(tissue, 0)
    return _scan(rng, noise, voxel, brain, layers), label


def make_cohort(folder: str | Path, *, cases: int, shape: Sequence[int] = (96, 96, 80), seed: int = 0) -> str:
    """Writes phantoms in the BraTS 2021 layout and returns the folder; every sixth has no enhancing tumour.

    A folder that holds this very cohort is left as it is; a new one appears only when it is complete.

    Raises:
        BundleError: for impossible arguments, or if the folder holds anything else.
    """
    record = json.dumps({"version": VERSION, "cases": cases, "shape": list(shape), "seed": seed})
    if cases < 1 or len(shape) != 3 or min(shape) < 32 or seed < 0:
        raise BundleError(f"No phantoms of {record}: at least 1 case, 3 axes of 32 voxels and seed 0 are needed.")
    folder = Path(folder)
    if _holds(folder, record):
        return str(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as unfinished:
        cohort = Path(unfinished, folder.name)
        for index in tqdm(range(cases), desc="phantoms", unit="case"):
            case_seed = int(np.random.SeedSequence((seed, index)).generate_state(1)[0])
            image, label = make_phantom(case_seed, shape=shape, enhancing=index % 6 != 5)
            _save_case(cohort / f"phantom_{index:03d}", image, label)
        (cohort / "phantom.json").write_text(record)
        try:
            cohort.rename(folder)
        except OSError:
            if not _holds(folder, record):  # as it does if another process was faster
                raise
    return str(folder)


def main() -> None:
    """Runs the command line."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(
        "python -m scripts.data.phantoms", description="Writes a cohort of brain phantoms."
    )
    parser.add_argument("folder", help="a new or empty folder, or one that holds this cohort")
    parser.add_argument("--cases", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--shape", type=int, nargs=3, default=[96, 96, 80], help="voxels (default: 96 96 80)")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other patients (default: 0)")
    args = parser.parse_args()
    print(f"{args.cases} phantom cases are in {make_cohort(**vars(args))}")


def _holds(folder: Path, record: str) -> bool:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    found = (folder / "phantom.json").read_text() if (folder / "phantom.json").is_file() else "no phantom.json"
    if found != record:
        raise BundleError(f"{folder} holds {found}, not {record}: give another folder, or delete this one.")
    return True


def _save_case(folder: Path, image: Array, label: Array) -> None:
    folder.mkdir(parents=True)
    voxel = FIELD_OF_VIEW / len(label)
    affine = nib.affines.from_matvec(np.diag([-voxel, -voxel, voxel]), [0, voxel * (label.shape[1] - 1), 0])
    for name, volume in zip((*WHITE_MATTER, "seg"), (*image, label)):
        nifti = nib.Nifti1Image(volume, affine)
        nifti.header["descrip"] = b"phantom, not a patient"
        nib.save(nifti, folder / f"{folder.name}_{name}.nii.gz")


def _anatomy(rng: Generator, noise: Noise, axes: list[Array], enhancing: bool) -> tuple[Array, Layers]:
    turn = Rotation.from_euler("xyz", rng.normal(0, 4, 3), degrees=True).as_matrix() / rng.normal(1, 0.035, (3, 1))
    x, y, z = np.meshgrid(*(axis - rng.normal(0, 3) for axis in axes), indexing="ij", sparse=True)
    head = np.stack([(a * x + b * y + c * z).astype(np.float32) for a, b, c in turn])
    cerebrum = _depth(head, (70, 88, 63), (0, 0, 4))
    hindbrain = np.maximum(_depth(head, (50, 36, 27), (0, 42, -38)), _depth(head, (14, 15, 30), (0, 14, -45)))
    surface = np.maximum(cerebrum, hindbrain) + 1.5 * noise(12)
    radius = rng.uniform(18, 35)
    centre = rng.uniform((20, -50, -15), (45, 45, 38)) * (rng.choice((-1, 1)), 1, 1)
    around = (head.T - centre.astype(np.float32)).T
    tumour = _tumour(rng, noise, around, surface, radius, enhancing)
    # The tumour takes room: what lies about it is pushed aside.
    push = 0.4 * np.exp(-0.5 * (around**2).sum(0) / radius**2)
    tissue = _tissue(rng, noise, head - push * around, surface)
    # Oedema follows the white matter, so that it spares most of the cortex.
    tumour["oedema"] = np.minimum(tumour["oedema"], np.minimum(1.5 - tissue["cortex"], -tissue["csf"]))
    return surface > 0, tissue | tumour


def _tissue(rng: Generator, noise: Noise, head: Array, surface: Array) -> Layers:
    # Where a smooth random field changes its sign there is a winding sheet: a sulcus.
    sulci = 4 * np.abs(noise(4)) + 0.5 * np.maximum(surface - 14, 0)
    fissure = np.abs(head[0]) + np.maximum(_depth(head, (60, 50, 30), (0, 6, -2)), 0)
    pia = np.minimum(np.minimum(surface, sulci), fissure)
    half = np.stack([np.abs(head[0]), *head[1:]])
    width = rng.uniform(5, 10)
    horns = np.maximum(_depth(half, (width, 30, 9), (10, -6, 12)), _depth(half, (width, 18, 10), (20, 24, 4)))
    return {
        "nuclei": np.maximum(_depth(half, (8, 13, 9), (12, 11, -1)), _depth(half, (8, 20, 11), (25, -10, 1))),
        "cortex": 3.8 - pia,
        "gliosis": horns + 2 * noise(7),
        "csf": np.maximum(1 - pia, horns + 0.5 * noise(7)),
        "vessel": 1.6 - np.hypot(pia, 4 * noise(5)),
    }


def _tumour(rng: Generator, noise: Noise, around: Array, surface: Array, radius: float, enhancing: bool) -> Layers:
    core_radius = rng.uniform(10, 18)
    rim = rng.uniform(4.5, min(8, core_radius / 2))
    rough = noise(6)
    oedema = _depth(around, max(radius, core_radius + 6) * rng.uniform(0.8, 1.2, 3)) + 5 * noise(9) + 3 * rough
    oedema = np.minimum(oedema, surface - 1)
    core = _depth(around, core_radius * rng.uniform(0.85, 1.15, 3), rng.normal(0, 3, 3)) + 2.5 * rough
    core = np.minimum(core, oedema - 2)
    return {"oedema": oedema} | ({"enhancing": core, "necrosis": core - rim} if enhancing else {"core": core})


def _scan(rng: Generator, noise: Noise, voxel: float, brain: Array, layers: Layers) -> Array:
    """The images: mean intensities with partial volume, under texture, bias field and Rician noise."""
    texture = noise(3)
    image = np.ones((len(WHITE_MATTER), *brain.shape), np.float32)
    for tissue, depth in layers.items():
        cover = np.clip(depth / voxel + 0.5, 0, 1)
        for channel, mean in zip(image, APPEARANCE[tissue]):
            channel += cover * (mean * rng.normal(1, 0.05) - channel)
    for channel, unit in zip(image, WHITE_MATTER.values()):
        channel *= unit * rng.lognormal(0, 0.2) * np.exp(0.08 * noise(50) + 0.04 * texture)
    for channel in image:  # noise of voxels comes last, so that the rest is the same at any resolution
        level = 0.055 * np.median(channel[brain])
        real, imaginary = level * rng.standard_normal((2, *brain.shape), dtype=np.float32)
        np.hypot(channel + real, imaginary, out=channel)
    return np.where(brain, np.maximum(image.round(), 1), 0).astype(np.int16)


def _depth(points: Array, radii: ArrayLike, centre: ArrayLike = (0, 0, 0)) -> Array:
    """How deep points (3, X, Y, Z) lie in an ellipsoid, in mm to first order; negative outside."""
    size = np.asarray(radii, np.float32)
    scaled = (points.T - np.asarray(centre, np.float32)) / size
    level, slope = np.linalg.norm(scaled.T, axis=0), np.linalg.norm((scaled / size).T, axis=0)
    return level * (1 - level) / np.maximum(slope, 1e-6)


def _noise(rng: Generator, axes: list[Array], scale: float) -> Array:
    """A Gaussian random field of unit variance, float32 (X, Y, Z), smooth over `scale` mm."""
    nodes = np.arange(-150, 150 + scale, scale)
    bases = [np.exp(-0.5 * ((axis.clip(-150, 150)[:, None] - nodes) / scale) ** 2) for axis in axes]
    bases = [basis / np.linalg.norm(basis, axis=1, keepdims=True) for basis in bases]
    grid = rng.standard_normal([len(nodes)] * 3)
    # Axis by axis, for scipy.ndimage.zoom, which is not separable, takes far longer. In float64, because the order in
    # which the threads of BLAS add would show in the bits of float32.
    field = np.einsum("ijk,xi,yj,zk->xyz", grid, *bases, optimize=["einsum_path", (0, 1), (0, 2), (0, 1)])
    return field.astype(np.float32)


if __name__ == "__main__":
    main()
