# SPDX-License-Identifier: Apache-2.0
"""The cases of the report's viewer: which ones, and how their volumes are embedded."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from isal import igzip

from scripts.brats import MODALITIES, REGIONS
from scripts.evaluation.report.tables import case_means
from scripts.evaluation.report.volumes import CaseVolumes

# of grey: on a screen 64 look like 256 and take half the space
LEVELS = 64


class Choice(NamedTuple):
    """A case for the viewer.

    Attributes:
        position: index of the case in the evaluation.
        reason: why it was chosen.
    """

    position: int
    reason: str


@dataclass(frozen=True)
class ViewerCase:
    """A case for the report's viewer.

    Args:
        settings: what the page's script needs; `volumes` contains the ids of the files.
        files: gzipped NIfTI files of uint8 in base64, by id.
    """

    settings: dict[str, Any]
    files: dict[str, str] = field(repr=False)


def choose_cases(dice: np.ndarray, count: int) -> list[Choice]:
    """Chooses cases from the worst to the best, evenly spaced in rank of mean Dice: three are worst, median and best.

    Cases without Dice, because they have no truth, are chosen only if no case has one.

    Args:
        dice: (N, 3) of cases and regions.
        count: number of cases to choose.
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
    """Packs the volumes of a case for the viewer: modalities, truth, prediction and the confidence of each region.

    Args:
        volumes: volumes of the case.
        number: index of the case in the viewer, which makes ids unique.
        reason: why it was chosen.
        dice: Dice of TC, WT and ET.
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
    """Returns a volume (H, W, D) of uint8 as a gzipped NIfTI file in base64; equal volumes give equal text."""
    nifti = nib.Nifti1Image(np.asarray(array, np.uint8), affine)
    nifti.header.set_xyzt_units("mm")
    return base64.b64encode(igzip.compress(nifti.to_bytes(), mtime=0)).decode()
