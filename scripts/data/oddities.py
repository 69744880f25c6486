# SPDX-License-Identifier: Apache-2.0
"""What is odd about a loaded image, yet no reason to refuse it: warned of once, by the names of the files."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from functools import cache

import numpy as np

CUT_OFF = 0.05  # share of a brain's voxels at its largest value; 160 volumes of BraTS have at most 0.007
WRAPPED = 0.04  # share of neighbours in a brain that differ by more than half of its range; those have at most 0.007
EXPORT = "export the scan again in a type that holds its values, such as int16 or float32"

logger = logging.getLogger(__name__)


@cache
def warn_once(message: str) -> None:
    """Logs a warning that this process has not logged yet."""
    logger.warning(message)


def warn_of_oddities(image: np.ndarray, names: Sequence[str]) -> None:
    """Warns of modalities that are the same, and of intensities that are a mask's, cut off or wrapped around.

    Args:
        image: modalities (N, H, W, D), background 0.
        names: of the N modalities in messages.
    """
    masks = [modality != 0 for modality in image]
    brains = [modality[mask] for modality, mask in zip(image, masks)]
    for first, second in itertools.combinations(range(len(image)), 2):
        # brains differ sooner than whole volumes, mostly in size
        if np.array_equal(brains[first], brains[second]) and np.array_equal(masks[first], masks[second]):
            warn_once(f"{names[first]} and {names[second]}: are identical, so one is not what its name says")
    for name, modality, brain in zip(names, image, brains):
        if odd := _odd_intensities(modality, brain):
            warn_once(f"{name}: {odd}")


def _odd_intensities(modality: np.ndarray, brain: np.ndarray) -> str:
    """Returns what is odd about the voxels of a brain in words, or ''."""
    if brain.size < 2:
        return ""
    least, most = brain.min(), brain.max()
    if least == most:
        return f"is {most:g} everywhere in the brain, as a mask; give the scan itself"
    share = float((brain == most).mean())
    if share > CUT_OFF:
        found = f"{share:.0%} of its brain is exactly {most:g}, its largest value"
        return f"{found}: what is brighter was cut off; {EXPORT}"
    first, second = modality[:-1], modality[1:]
    apart = np.abs(second - first)[(first != 0) & (second != 0)] > (most - least) / 2
    if apart.size and apart.mean() > WRAPPED:
        found = f"neighbours in its brain differ as in noise ({apart.mean():.0%} by more than half of its range)"
        return f"{found}: values beyond a type's range have wrapped around; {EXPORT}"
    return ""
