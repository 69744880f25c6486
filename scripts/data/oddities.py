# SPDX-License-Identifier: Apache-2.0
"""What is odd about a loaded image, yet no reason to refuse it: warned of once, by the names of the files."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from functools import cache

import numpy as np

logger = logging.getLogger(__name__)


@cache
def warn_once(message: str) -> None:
    """Logs a warning that this process has not logged yet."""
    logger.warning(message)


def warn_of_oddities(image: np.ndarray, names: Sequence[str]) -> None:
    """Warns of modalities that are the same, and of a brain that has one value everywhere.

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
    for name, brain in zip(names, brains):
        if brain.size > 1 and (brain == brain[0]).all():
            warn_once(f"{name}: is {brain[0]:g} everywhere in the brain, as a mask; give the scan itself")
