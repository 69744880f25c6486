# SPDX-License-Identifier: Apache-2.0
"""MONAI data lists (JSON): reading, writing, and the command that writes one for a data set."""

from __future__ import annotations

import argparse
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from monai.data import load_decathlon_datalist
from monai.utils import ensure_tuple, str2bool

from scripts.base.errors import BundleError, report_bundle_errors
from scripts.brats import MODALITIES, MSD_CHANNELS, TISSUES, Item, Labels, Layout
from scripts.data.discovery import ONE_FILE, to_item, to_volume
from scripts.data.file_names import parse_path, refuse_name
from scripts.data.label_meaning import tissues_of
from scripts.data.own_files import is_own_file


def write_datalist(path: str, training: Sequence[Item], validation: Sequence[Item]) -> None:
    """Writes a data list in the format of MONAI and the Medical Segmentation Decathlon, paths relative to its folder.

    Raises:
        BundleError: where the file cannot be written.
    """
    first = [*training, *validation][0]
    layout = first["layout"]
    tissues = sorted((value, TISSUES[tissue].name) for value, tissue in tissues_of(first).items())
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
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise BundleError(f"output {path}: cannot be written ({error.strerror}); choose another path") from error


def read_datalist(path: str, *, labels: Labels = "required") -> tuple[list[Item], list[Item]]:
    """Reads the sections `training` and `validation` of a data list written here or elsewhere.

    File names tell what an entry lacks of `case`, `patient` and `layout`. Four images whose names tell the modality are
    put in the order T1, T1ce, T2, FLAIR.

    Raises:
        BundleError: where the file or a section is missing or malformed, or a patient is in both sections.
    """
    try:
        sections = [load_decathlon_datalist(os.path.abspath(path), True, key) for key in ("training", "validation")]
        if not sections[1]:
            raise ValueError("its section validation is empty")
        training, held_out = ([_from_entry(entry, labels=labels) for entry in section] for section in sections)
    except (OSError, RecursionError, TypeError, ValueError) as error:
        remedy = f"`python -m scripts.data.datalist DATASET_DIR --output {path}` writes one"
        raise BundleError(f"data list {path}: {error}; {remedy}") from error
    if shared := {item["patient"] for item in training} & {item["patient"] for item in held_out}:
        raise BundleError(f"data list {path}: patient {min(shared)} is on both sides of the split; keep it on one")
    if twice := [case for case, count in Counter(item["case"] for item in training + held_out).items() if count > 1]:
        raise BundleError(f"data list {path}: case {twice[0]} is listed twice; remove one, or give each a `case`")
    return training, held_out


def main() -> None:
    """Command line: checks and splits a data set and writes its data list."""
    from scripts.data.cohort import Cohort  # which reads data lists itself

    report_bundle_errors()
    parser = argparse.ArgumentParser(
        prog="python -m scripts.data.datalist", description="Checks and splits BraTS cases."
    )
    parser.add_argument("dataset_dir", help="folder of the cases, of any BraTS layout")
    parser.add_argument("--output", required=True, help="data list (JSON) to write")
    parser.add_argument("--held_out_fraction", type=float, default=0.2, help="fraction of patients held out (0.2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split (0)")
    parser.add_argument("--skip_invalid", nargs="?", const=True, type=str2bool, help="leave broken cases out")
    parser.add_argument("--patient_pattern", help="regular expression that finds the patient in the id of a case")
    options = vars(parser.parse_args())
    output = options.pop("output")
    cohort = Cohort(**options)
    training, held_out = cohort.training_cases(), cohort.held_out_cases()
    write_datalist(output, training, held_out)
    layouts = Counter(item["layout"] for item in training + held_out)
    counts = ", ".join(f"{layout} {layouts[layout]}" for layout in sorted(layouts))
    patients = {item["patient"] for item in training + held_out}
    print(f"{len(training + held_out)} cases of {len(patients)} patients: {counts}")
    print(f"training {len(training)}, held out {len(held_out)}, left out {len(cohort.problems)}")
    print(f"written to {output}")


def _from_entry(entry: Mapping[str, Any], *, labels: Labels) -> Item:
    image = entry.get("image")
    if not isinstance(image, str) and not (isinstance(image, list) and [type(path) for path in image] == [str] * 4):
        raise ValueError(f"image is {image}, allowed are four paths or the path of one 4D file")
    if labels == "required" and not isinstance(entry.get("label"), str):
        raise ValueError(f"{image} has no label")
    # MONAI turns any string that names an existing path into that path, and a case often does.
    told = {key: os.path.basename(entry[key]) for key in ("case", "patient", "layout") if key in entry}
    if told.get("layout", "msd") not in get_args(Layout):
        raise ValueError(f"layout {told['layout']} is unknown, allowed are {', '.join(get_args(Layout))}")
    images = list(ensure_tuple(image))
    volumes = [to_volume(path) for path in images]
    if len(images) == 1:
        volumes = [volumes[0]._replace(kind=ONE_FILE)]
    item = to_item(told.get("case", parse_path(images[0]).case), {volume.kind: volume for volume in volumes})
    if len(item["image"]) < len(images):  # names that tell no modality: the list's order holds
        item["image"] = images
    for key in ("case", "patient", "layout"):
        item[key] = told.get(key, item[key])
    if channels := entry.get("channels"):
        item["channels"] = list(channels)
    if values := entry.get("values"):
        item["values"] = {int(value): tissue for value, tissue in values.items()}
    if odd := refuse_name(item["case"]):
        raise ValueError(odd)
    if labels != "ignored" and is_own_file(str(entry.get("label"))):
        raise ValueError(f"{entry['label']} is a prediction of this bundle, not a truth; name the truth")
    if labels != "ignored" and entry.get("label"):
        item["label"] = entry["label"]
    return item


def _relative_to(path: str, item: Item) -> dict[str, Any]:
    relative = partial(os.path.relpath, start=os.path.dirname(os.path.abspath(path)))
    images = [relative(file) for file in item["image"]]
    files = {"image": images if len(images) > 1 else images[0]}
    return item | files | ({"label": relative(item["label"])} if "label" in item else {})


if __name__ == "__main__":
    main()
