# SPDX-License-Identifier: Apache-2.0
"""A split given by the names of its cases, which holds wherever their files lie."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.discovery import find_cases

SECTIONS = ("training", "validation")  # as in a data list


def find_by_names(folders: Sequence[str], names: str) -> tuple[list[Item], list[Item]]:
    """Finds the cases that a file names, and returns those to train with and those to validate with.

    Args:
        folders: folders of the cases, each of any layout; cases that are not named are left out.
        names: a JSON file, `{"training": [case, ...], "validation": [case, ...]}`.

    Raises:
        BundleError: where the file cannot be understood, or a case that it names is in no folder, or in two.
    """
    found: dict[str, Item] = {}
    for folder in folders:
        for item in find_cases(folder):
            first = found.setdefault(item["case"], item)
            if first is not item:
                raise BundleError(f"case {item['case']} is in two of {', '.join(folders)}; give one of them")
    sides = _read(names)
    if absent := [case for side in sides for case in side if case not in found]:
        raise BundleError(
            f"{names}: {len(absent)} of its cases, such as {absent[0]}, are not in {', '.join(folders)}; "
            "add the folder that holds them"
        )
    training, validation = ([found[case] for case in side] for side in sides)
    return training, validation


def _read(path: str) -> list[list[str]]:
    try:
        content = json.loads(Path(path).read_text())
        sides = [content[section] for section in SECTIONS]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{path}: cannot be read as lists {' and '.join(SECTIONS)} of cases ({error})") from error
    cases = [case for side in sides for case in side]
    if not all(sides) or not all(isinstance(case, str) for case in cases) or len(set(cases)) < len(cases):
        raise BundleError(f"{path}: {' and '.join(SECTIONS)} must each name cases, and none twice; correct it")
    return sides
