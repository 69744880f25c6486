# SPDX-License-Identifier: Apache-2.0
"""What the values of label maps mean, and what gives away that they mean something else."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from scripts.base.errors import BundleError
from scripts.brats import LABEL_VALUES, TISSUES, Item

logger = logging.getLogger(__name__)

ROUNDING = 0.01  # deviation from whole numbers that slopes and float arithmetic leave in label maps
_DESCRIBE = (
    'a dataset.json in the folder of the data set can say what values mean, such as {"labels": {"1": "oedema", '
    '"2": "necrotic or non-enhancing core", "3": "enhancing tumour"}}'
)


def round_labels(values: np.ndarray) -> np.ndarray:
    """Returns values of a label map, those within `ROUNDING` of a whole number as that number."""
    whole = np.rint(values)
    return np.unique(np.where(np.abs(values - whole) <= ROUNDING, whole, values))


def tissues_of(item: Mapping[Any, Any]) -> dict[int, int]:
    """Returns the value of `TISSUES`, or 0 for background, that each value of an item's label map stands for.

    Raises:
        BundleError: for BraTS-PED without a `dataset.json`, whose values mean different tissues in 2023 and 2024.
    """
    layout = item.get("layout", "brats2021")
    if values := item.get("values"):
        return values
    if layout not in LABEL_VALUES:
        raise BundleError(
            "BraTS-PED has the same names in every year, and numbers tissues anew: put a dataset.json into the folder "
            'of the data set, for 2023 {"labels": {"1": "non-enhancing core", "2": "oedema", "3": "enhancing tumour"}} '
            'and for 2024 {"labels": {"1": "enhancing tumour", "2": "non-enhancing tumour", "3": "cystic component", '
            '"4": "oedema"}}'
        )
    return LABEL_VALUES[layout]


def explain_odd(odd: Collection[float], item: Mapping[Any, Any]) -> str:
    """Returns what is wrong with values that an item's label map should not have, and what to do."""
    values = tissues_of(item)
    found = ", ".join(f"{value:g}" for value in sorted(odd)[:5]) + (", ..." if len(odd) > 5 else "")
    meaning = ", ".join(f"{value} {TISSUES[tissue].name}" for value, tissue in sorted(values.items()) if tissue)
    allowed = f"{{{', '.join(map(str, sorted({0, *values})))}}}"
    source = "the dataset.json" if item.get("values") else f"layout {item.get('layout')}, told by the file names,"
    hint = _DESCRIBE
    if item.get("layout") == "brats2023" and set(odd) == {4}:
        hint = (
            "4 is the resection cavity of BraTS 2024's post-treatment cases and not enhancing tumour: leave such cases "
            "out, or set it to 0 in a copy, which counts the cavity as background"
        )
    elif item.get("layout") == "brats2021" and set(odd) == {3}:
        hint = (
            "where 3 is enhancing tumour (BraTS 2023 and later), the files must have the names t1n, t1c, t2w and t2f, "
            f"and where there is a 4 beside it, that is a resection cavity; {_DESCRIBE}"
        )
    return f"has labels {found}; in {source} {allowed} are allowed ({meaning}); {hint}"


def check_tissues(found: Sequence[tuple[Item, Collection[float]]]) -> None:
    """Looks at the values in the label maps of a whole data set.

    Args:
        found: the cases that have a label map, with its values but 0.

    Raises:
        BundleError: where all label maps are binary masks, which tell no regions.
    """
    tissues = {tissues_of(item)[int(value)] for item, values in found for value in values}
    if not tissues:
        return
    if {value for _, values in found for value in values} == {1}:
        raise BundleError(
            f"the label maps of all {len(found)} cases have no value but one: binary masks tell no regions of BraTS; "
            "give label maps of necrotic or non-enhancing core, oedema and enhancing tumour"
        )
    for value, tissue in TISSUES.items():
        if value not in tissues:
            logger.warning(
                f"none of the label maps of {len(found)} cases has {tissue.name}: perhaps values mean something else; "
                f"{_DESCRIBE}"
            )
