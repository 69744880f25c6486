# SPDX-License-Identifier: Apache-2.0
"""MONAI data lists (JSON): reading and writing."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, get_args

from monai.data import load_decathlon_datalist

from scripts.base.errors import BundleError
from scripts.base.results import write_result
from scripts.brats import MODALITIES, MSD_CHANNELS, TISSUES, Item, Labels, Layout
from scripts.data.discovery import to_item
from scripts.data.file_names import parse_path, refuse_name
from scripts.data.folder_search import ONE_FILE, to_volume
from scripts.data.label_meaning import tissues_of
from scripts.data.missing import REMEDY, check_missing
from scripts.data.predictions import UNMARK, is_prediction
from scripts.data.segments import read_segments


def write_datalist(path: str, training: Sequence[Item], validation: Sequence[Item]) -> None:
    """Writes a data list in the format of MONAI and the Medical Segmentation Decathlon, paths relative to its folder.

    Raises:
        BundleError: where the file cannot be written, or is of somebody else.
    """
    first = [*training, *validation][0]
    layout = first["layout"]
    tissues = sorted((value, TISSUES[tissue].name) for value, tissue in tissues_of(first).items() if tissue)
    order = first.get("channels", MSD_CHANNELS) if layout == "msd" else range(len(MODALITIES))
    content = {
        "name": "BraTS",
        "description": f"Brain tumours in MRI, split by patient; modality and labels as of the layout {layout}",
        "modality": dict(sorted(zip(order, MODALITIES))),
        "labels": {0: "background", **dict(tissues)},
        "numTraining": len(training),
        "numValidation": len(validation),
        "training": [_relative_to(path, item) for item in training],
        "validation": [_relative_to(path, item) for item in validation],
    }
    write_result(path, (json.dumps(content, indent=2) + "\n").encode())


def read_datalist(
    path: str, *, labels: Labels = "required", allow_missing: bool = False
) -> tuple[list[Item], list[Item]]:
    """Reads the sections `training` and `validation` of a data list written here or elsewhere.

    File names tell what an entry lacks of `case`, `patient` and `layout`. Images whose names tell the modality are put
    in the order T1, T1ce, T2, FLAIR. An entry may list as `missing` one or two modalities that the case lacks.

    Args:
        path: of the data list.
        labels: whether label maps are required, optional or ignored.
        allow_missing: whether a case may lack modalities.

    Raises:
        BundleError: where the file or a section is missing or malformed, or a patient is in both sections.
    """
    try:
        sections = [load_decathlon_datalist(os.path.abspath(path), True, key) for key in ("training", "validation")]
        if not sections[1]:
            raise ValueError("its section validation is empty")
        training, held_out = (
            [_from_entry(entry, labels=labels, allow_missing=allow_missing) for entry in section]
            for section in sections
        )
    except (OSError, RecursionError, TypeError, ValueError) as error:
        remedy = f"`python -m scripts.data.split DATASET_DIR --output {path}` writes one"
        raise BundleError(f"data list {path}: {error}; {remedy}") from error
    if shared := {item["patient"] for item in training} & {item["patient"] for item in held_out}:
        raise BundleError(f"data list {path}: patient {min(shared)} is on both sides of the split; keep it on one")
    if twice := [case for case, count in Counter(item["case"] for item in training + held_out).items() if count > 1]:
        raise BundleError(f"data list {path}: case {twice[0]} is listed twice; remove one, or give each a `case`")
    return training, held_out


def _from_entry(entry: Mapping[str, Any], *, labels: Labels, allow_missing: bool) -> Item:
    missing = entry.get("missing", [])
    images = _images_of(entry, count=len(MODALITIES) - len(missing))
    if missing:
        check_missing(missing)
        if not allow_missing:
            raise ValueError(f"{images[0]}: its case has no {' and no '.join(missing)}; {REMEDY}")
    if labels == "required" and not isinstance(entry.get("label"), str):
        raise ValueError(f"{entry['image']} has no label")
    # MONAI turns any string that names an existing path into that path, and a case often does.
    told = {key: os.path.basename(entry[key]) for key in ("case", "patient", "layout") if key in entry}
    if told.get("layout", "msd") not in get_args(Layout):
        raise ValueError(f"layout {told['layout']} is unknown, allowed are {', '.join(get_args(Layout))}")
    volumes = [to_volume(path) for path in images]
    if there := [volume for volume in volumes if volume.kind in missing]:
        raise ValueError(f"{there[0].path}: is {there[0].kind}, which is listed as missing")
    if len(images) == 1:
        volumes = [volumes[0]._replace(kind=ONE_FILE)]
    item = to_item(told.get("case", parse_path(images[0]).case), {volume.kind: volume for volume in volumes})
    if len(item["image"]) < len(images):  # names that tell no modality: the list's order holds
        item["image"] = images
    for key in ("case", "patient", "layout"):
        item[key] = told.get(key, item[key])
    if missing:
        item["missing"] = [modality for modality in MODALITIES if modality in missing]
    if channels := entry.get("channels"):
        item["channels"] = list(channels)
    if values := entry.get("values"):
        item["values"] = {int(value): tissue for value, tissue in values.items()}
    if odd := refuse_name(item["case"]):
        raise ValueError(odd)
    if labels != "ignored" and is_prediction(str(entry.get("label"))):
        raise ValueError(f"{entry['label']} {UNMARK}")
    if labels != "ignored" and entry.get("label"):
        item["label"] = entry["label"]
        if values := read_segments(entry["label"]):
            item["values"] = values
    return item


def _images_of(entry: Mapping[str, Any], *, count: int) -> list[str]:
    image = entry.get("image")
    if isinstance(image, list) and [type(path) for path in image] == [str] * count:
        return image
    if isinstance(image, str) and count == len(MODALITIES):
        return [image]
    allowed = "four paths or the path of one 4D file" if count == len(MODALITIES) else f"{count} paths"
    raise ValueError(f"image is {image}, allowed are {allowed}")


def _relative_to(path: str, item: Item) -> dict[str, Any]:
    relative = partial(os.path.relpath, start=os.path.dirname(os.path.abspath(path)))
    images = [relative(file) for file in item["image"]]
    files = {"image": images if len(images) > 1 else images[0]}
    return item | files | ({"label": relative(item["label"])} if "label" in item else {})
