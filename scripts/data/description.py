# SPDX-License-Identifier: Apache-2.0
"""`dataset.json`, in which MSD and nnU-Net say what the channels of images and the values of label maps mean."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from scripts.base.errors import BundleError
from scripts.brats import MODALITIES, MODALITY_NAMES, TISSUES

NAME = "dataset.json"
_TISSUE_WORDS = {  # the first that fits counts
    0: r"background|bg|cavity|resection cavity|rc",
    1: r"(non|not)[- ]?enhanc\w*.*|ne?cro\w*.*|ncr.*|net|netc|nc|cyst\w*.*|cc|necrotic.*|core",
    2: r"(peri\w*)?\s*o?edema.*|ed|snfh|flair hyperintensity.*|.*hyperintens\w*",
    4: r"enhanc\w*.*|et|at|active.*|gd[- ]?enhanc\w*.*",
}
_REGION_WORDS = {"WT": r"whole[_ -]?tumou?r|wt", "TC": r"tumou?r[_ -]?core|tc", "ET": _TISSUE_WORDS[4]}


def find_description(folder: str, root: str) -> str | None:
    """Returns the path of the `dataset.json` in a folder or in one above it, up to a root; None where there is none."""
    while True:
        path = os.path.join(folder, NAME)
        if os.path.isfile(path):
            return path
        if folder == root or os.path.dirname(folder) == folder:
            return None
        folder = os.path.dirname(folder)


def read_channels(path: str) -> list[str]:
    """Returns the modality of each channel, or an empty list where the file says nothing of channels.

    Raises:
        BundleError: where a channel is not one of the four modalities, each of which must be there once.
    """
    content = _read(path)
    names = content.get("channel_names", content.get("modality", {}))
    if not isinstance(names, Mapping) or not names:
        return []
    channels = [_modality(str(name)) for _, name in sorted(names.items(), key=lambda entry: int(entry[0]))]
    if sorted(filter(None, channels)) != sorted(MODALITIES):
        known = "; ".join(f"{modality}: {', '.join(words)}" for modality, words in MODALITY_NAMES.items())
        raise BundleError(f"{path}: its channels are {dict(names)}; all of {known} must be there once, correct it")
    return [channel for channel in channels if channel]


def read_values(path: str) -> dict[int, int]:
    """Returns the tissue (0 for background, or a key of `TISSUES`) of each value, empty where the file has no labels.

    Takes MSD's `{"1": "edema"}`, nnU-Net's `{"edema": 1}`, and its regions, `{"whole tumor": [1, 2, 3], ...}`.

    Raises:
        BundleError: where a label is not understood, or one of the three tissues is missing.
    """
    labels = _read(path).get("labels")
    if not isinstance(labels, Mapping) or not labels:
        return {}
    if any(isinstance(value, list) for value in labels.values()):
        values = _of_regions(path, labels)
    else:
        pairs = [(name, value) if isinstance(value, int) else (value, int(name)) for name, value in labels.items()]
        values = {value: _tissue(path, str(name)) for name, value in pairs}
    values = {value: tissue for value, tissue in values.items() if value}
    if missing := [tissue.name for value, tissue in TISSUES.items() if value not in values.values()]:
        raise BundleError(
            f"{path}: its labels {dict(labels)} name no {', no '.join(missing)}; "
            "give each of them a value, for regions of BraTS need all"
        )
    return values


@cache
def _load(path: str, changed: int) -> Any:
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def _read(path: str) -> dict[str, Any]:
    try:
        content = _load(path, os.stat(path).st_mtime_ns)
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: cannot be read as JSON ({error}); correct it or move it away") from error
    return content if isinstance(content, dict) else {}


def _modality(name: str) -> str | None:
    word = name.strip().lower().replace("-", "_").replace(" ", "_")
    return next((modality for modality, words in MODALITY_NAMES.items() if word in words), None)


def tissue_named(name: str) -> int | None:
    """Returns the key of `TISSUES` that a name means, 0 for background, None where it is not understood."""
    word = name.strip().lower().replace("_", " ")
    return next((value for value, words in _TISSUE_WORDS.items() if re.fullmatch(words, word)), None)


def _tissue(path: str, name: str) -> int:
    if (tissue := tissue_named(name)) is not None:
        return tissue
    known = ", ".join(tissue.name for tissue in TISSUES.values())
    raise BundleError(f"{path}: label '{name}' is not understood; name it background, {known}")


def _of_regions(path: str, labels: Mapping[str, Any]) -> dict[int, int]:
    regions: dict[str, set[int]] = {}
    for name, value in labels.items():
        word = name.strip().lower().replace("_", " ")
        for region, words in _REGION_WORDS.items():
            if re.fullmatch(words, word):
                regions[region] = set(value if isinstance(value, list) else [value])
    if set(regions) != {"WT", "TC", "ET"} or not regions["ET"] < regions["TC"] < regions["WT"]:
        raise BundleError(
            f"{path}: its regions {dict(labels)} "
            "are not whole tumour, tumour core in it, and enhancing tumour in that; correct them"
        )
    return {value: 4 if value in regions["ET"] else 1 if value in regions["TC"] else 2 for value in regions["WT"]}
