# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from scripts.base.errors import BundleError

HALVINGS = 16  # the segmenter halves a patch four times
GROUPS = 8  # of its GroupNorm


def check_settings(
    *,
    batch_size: int,
    patch_size: int,
    features: int,
    epochs: int,
    val_interval: int,
    training_cases: int,
    accumulate: int = 1,
    max_skipped: int = 1,
) -> None:
    """Checks the settings that PyTorch would refuse late, or with words that do not name them.

    `training_cases` are those of one process.

    Raises:
        BundleError: naming the first setting that is out of its range.
    """
    whole = {
        "batch_size": batch_size,
        "epochs": epochs,
        "val_interval": val_interval,
        "accumulate": accumulate,
        "max_skipped": max_skipped,
    }
    for name, value in whole.items():
        if not isinstance(value, int) or value < 1:
            raise BundleError(f"{name} is {value}; allowed are whole numbers from 1 on.")
    multiples = {"patch_size": (patch_size, HALVINGS), "features": (features, GROUPS)}
    for name, (value, factor) in multiples.items():
        if not isinstance(value, int) or value < factor or value % factor:
            raise BundleError(f"{name} is {value}; allowed are multiples of {factor}, such as {4 * factor}.")
    if val_interval > epochs:
        raise BundleError(f"val_interval is {val_interval} of {epochs} epochs: no epoch would be validated; lower it.")
    if batch_size > training_cases:
        raise BundleError(
            f"batch_size is {batch_size}, but a process has {training_cases} cases to train with; lower it."
        )
    if batch_size * accumulate > training_cases:
        raise BundleError(
            f"accumulate is {accumulate} at batch_size {batch_size}, but a process has {training_cases} cases to train "
            f"with; lower it, for a step cannot have more than an epoch."
        )
