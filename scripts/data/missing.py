# SPDX-License-Identifier: Apache-2.0
"""Modalities that a case lacks, where the user allowed that (`allow_missing`), and what that means."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from scripts.base.errors import BundleError
from scripts.brats import MODALITIES, RELIABLE_WITH, Item

MOST_MISSING = 2  # as in training (`drop_modality_prob`)
REMEDY = "`--allow_missing true` of inference and evaluation goes on without one or two modalities"


def missing_of(present: Collection[str]) -> list[str]:
    """Returns the modalities that are not present."""
    return [modality for modality in MODALITIES if modality not in present]


def check_missing(missing: Sequence[str]) -> None:
    """Checks the modalities that a data list says a case lacks.

    Raises:
        BundleError: where they are not one or two different modalities.
    """
    if not 0 < len(missing) <= MOST_MISSING or len({*missing} & {*MODALITIES}) < len(missing):
        raise BundleError(f"missing is {list(missing)}; allowed are one or two of {', '.join(MODALITIES)}")


def what_is_missing(missing: Iterable[str]) -> str:
    """Returns in words what a case lacks and which regions that makes unreliable; '' where it lacks nothing."""
    missing = list(missing)
    if not missing:
        return ""
    regions = [region for region, modality in RELIABLE_WITH.items() if modality in missing]
    warning = f": {_listed(regions)} {'is' if len(regions) == 1 else 'are'} unreliable" if regions else ""
    return f"without {_listed(missing)}{warning}"


def tell_missing(items: Iterable[Item]) -> None:
    """Prints a line for each case that lacks a modality."""
    for item in items:
        if words := what_is_missing(item.get("missing", [])):
            print(f"{item['case']}: {words}")


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
