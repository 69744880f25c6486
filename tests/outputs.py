# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from ignite.engine import Events
from monai.engines import Evaluator

from scripts.base.errors import BundleError
from scripts.base.results import LIST, is_result
from scripts.brats import Item
from scripts.data.discovery import find_cases
from scripts.data.phantoms import make_cohort


def make_outputs(folder: Path, *, cases: int = 3, shape: tuple[int, int, int] = (40, 40, 32)) -> list[Item]:
    """Phantoms in `folder`/cases, and what evaluating them wrote in `folder`/out: shifted truths and a confidence."""
    items = find_cases(make_cohort(folder / "cases", cases=cases, shape=shape))
    output_dir = folder / "out"
    output_dir.mkdir()
    for item in items:
        truth = nib.Nifti1Image.from_filename(item["label"])
        voxels = np.asarray(truth.dataobj)
        seg = nib.Nifti1Image(np.roll(voxels, 1, axis=0), truth.affine)
        ramp = np.linspace(0, 1, shape[2], dtype=np.float32)
        regions = np.stack([np.broadcast_to(ramp * part, shape) for part in (1.0, 0.5, 0.01)], axis=-1)
        nib.save(seg, output_dir / f"{item['case']}_seg.nii.gz")
        confidence = nib.Nifti1Image(np.rint(regions * 100).astype(np.uint8), truth.affine)
        confidence.header.set_slope_inter(0.01, 0)
        nib.save(confidence, output_dir / f"{item['case']}_confidence.nii.gz")
    return items


def results_in(folder: Path) -> set[str]:
    """Names of what is in a folder, but for the list of what was written there."""
    return {path.name for path in folder.iterdir()} - {LIST}


def assert_not_replaced(path: Path, write: Callable[[], object]) -> None:
    """Puts a person's file there and sees that writing refuses to replace it, and then writes where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a week of work")
    with pytest.raises(BundleError, match="was not written by this program") as caught:
        write()
    assert str(path) in str(caught.value)
    assert path.read_bytes() == b"a week of work"
    path.unlink()
    for _ in range(2):
        write()
    assert is_result(path)


def label_dice(first: np.ndarray, second: np.ndarray) -> float:
    """Dice of two label maps, over the voxels that have a label; one counts only where both have the same.

    Between two programs that compute the same in float32, rounding moves logits by 1e-5 or so, and so turns one of the
    100,000 voxels of an outline at which they change by 1 a voxel. Tests allow 0.999, a hundred times as much.
    """
    return 2 * ((first == second) & (first > 0)).sum() / ((first > 0).sum() + (second > 0).sum())


class KnownMetrics:
    """Handler that puts metrics into an evaluator's state, as the metrics do."""

    def __init__(self, metrics: dict[str, np.ndarray]) -> None:
        self.metrics = metrics

    def attach(self, engine: Evaluator) -> None:
        engine.add_event_handler(Events.EPOCH_COMPLETED, self)

    def __call__(self, engine: Evaluator) -> None:
        engine.state.metric_details = dict(self.metrics)
