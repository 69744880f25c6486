# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from scripts.brats import MODALITIES, REGIONS
from scripts.evaluation.report.tables import case_means
from scripts.evaluation.report.volumes import CaseVolumes

# of grey: what 64 lose is not seen on a screen, and they take half the space of 256
LEVELS = 64


class Choice(NamedTuple):
    """A case worth a look: its place in the evaluation, and why it was chosen."""

    position: int
    reason: str


@dataclass(frozen=True)
class ViewerCase:
    """A case for the report's viewer.

    Args:
        settings: what the page's script needs to know; `volumes` has the ids of its files.
        files: gzipped NIfTI files of uint8, base64, by id.
    """

    settings: dict[str, Any]
    files: dict[str, str] = field(repr=False)


def choose_cases(dice: np.ndarray, count: int) -> list[Choice]:
    """Chooses cases from the worst to the best by mean Dice (N, 3), evenly spaced in rank; 3 are worst, median, best.

    Cases without Dice, as they have no truth, are chosen only where no case has one.
    """
    means = case_means(dice)
    ranking = [int(index) for index in np.argsort(means, kind="stable") if not np.isnan(means[index])]
    if not ranking:
        return [Choice(index, "without truth") for index in range(min(count, len(dice)))]
    last = len(ranking) - 1
    ranks = sorted({round(rank) for rank in np.linspace(0, last, count)}) if count > 1 else [0][:count]
    names = {last: "best", 0: "worst"} if last else {0: "only case"}
    middle = ranks[len(ranks) // 2] if len(ranks) % 2 else -1
    names = {middle: "median"} | names
    return [Choice(ranking[rank], names.get(rank, f"rank {rank + 1} of {last + 1}")) for rank in ranks]


def pack_case(volumes: CaseVolumes, *, number: int, reason: str, dice: Sequence[float]) -> ViewerCase:
    """Packs a case for the viewer: each modality, truth and prediction, and the confidence of each region.

    Args:
        volumes: of the case.
        number: of the case in the viewer, which makes ids unique.
        reason: for which it was chosen.
        dice: of TC, WT, ET, shown with it.
    """
    arrays = dict(zip(MODALITIES, volumes.image)) | {"prediction": volumes.prediction}
    if volumes.truth is not None:
        arrays["truth"] = volumes.truth
    if volumes.confidence is not None:
        arrays |= {f"confidence-{region}": array for region, array in zip(REGIONS, volumes.confidence)}
    ids = {name: f"volume-{number}-{name}" for name in arrays}
    settings = {
        "case": volumes.case,
        "reason": reason,
        "dice": {region: None if np.isnan(value) else round(float(value), 4) for region, value in zip(REGIONS, dice)},
        "volumes": ids,
        "shape": volumes.prediction.shape,
        "start": volumes.start,
        "size": volumes.size,
        "focus": volumes.focus,
    }
    return ViewerCase(settings, {ids[name]: to_base64(array, volumes.affine) for name, array in arrays.items()})


def to_base64(array: np.ndarray, affine: np.ndarray) -> str:
    """A volume (H, W, D) of uint8 as a gzipped NIfTI file in base64; the same volume gives the same text."""
    nifti = nib.Nifti1Image(np.asarray(array, np.uint8), affine)
    nifti.header.set_xyzt_units("mm")
    return base64.b64encode(gzip.compress(nifti.to_bytes(), 6, mtime=0)).decode()
