# SPDX-License-Identifier: Apache-2.0
"""Finds the cases of a data set by the names of its files and folders."""

from __future__ import annotations

import logging
import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from scripts.base.errors import BundleError, one_line
from scripts.brats import MODALITIES, Item, Labels
from scripts.data.description import find_description, read_channels, read_values
from scripts.data.file_names import KINDS, LABEL, refuse_name
from scripts.data.folder_search import MSD_FOLDERS, ONE_FILE, Volume, find_volumes
from scripts.data.missing import MOST_MISSING, REMEDY, missing_of
from scripts.data.oddities import warn_once
from scripts.data.patients import patient_of
from scripts.data.predictions import UNMARK, is_prediction
from scripts.data.segments import read_segments

logger = logging.getLogger(__name__)


def find_cases(dataset_dir: str, *, labels: Labels = "required", allow_missing: bool = False) -> list[Item]:
    """Finds the cases of every layout in a folder, in its sub-folders, or in a folder that is a case itself.

    A case's id is what its files are called before the modality (`<case>_t1.nii.gz`). Files that are just `t1.nii.gz`,
    or folders of DICOM files `t1/`, are identified by the path of their folder: `patient1/ses-1/t1.nii.gz` is of
    `patient1_ses-1`. Skipped are files with other names, hidden files, links to a folder that was already searched, and
    what this bundle wrote; label maps with its mark are predictions and no truth. A `dataset.json`, or the names of
    segments in 3D Slicer's `.seg.nrrd`, tell what channels and values mean.

    Args:
        dataset_dir: the folder.
        labels: whether label maps are required, optional or ignored.
        allow_missing: whether a case may lack one or two modalities, which its item then lists as `missing`.

    Returns:
        Items of all cases, sorted by id. A case that lacks a file, has one twice, or whose id cannot name a file, has a
        `fault` that says so; it is listed because the split must not depend on it.

    Raises:
        BundleError: where the folder does not exist, cannot be read or holds no case, or its `dataset.json` cannot be
            understood.
    """
    _refuse_place(dataset_dir)
    root = os.path.abspath(dataset_dir)
    wanted = [volume for volume in find_volumes(root) if _is_wanted(volume, labels)]
    predictions = [volume for volume in wanted if volume.kind == LABEL and is_prediction(volume.path)]
    groups = _group([volume for volume in wanted if volume not in predictions], root)
    if not groups:
        found = _found_in(*(place for place, _, files in os.walk(root) if files))
        raise BundleError(f"dataset_dir {dataset_dir}: no case found{found}; {_understood(MODALITIES)}")
    _warn_of_labels_elsewhere(groups.values())
    items = []
    for case, group in sorted(groups.items()):
        marked = [volume.path for volume in predictions if volume.case == case or volume.place == group[0].place]
        items.append(_describe(case, group, root, labels=labels, predictions=marked, allow_missing=allow_missing))
    return items


def to_item(case: str, volumes: Mapping[str, Volume]) -> Item:
    """Returns the item of a case, given its volumes by kind."""
    names = {volume.name for volume in volumes.values()}
    layout = "msd" if ONE_FILE in volumes else "brats2023" if names & {"t1n", "t2f"} else "brats2021"
    if layout == "brats2023" and re.match(r"brats-ped", case, re.IGNORECASE):
        layout = "brats_ped"
    kinds = (ONE_FILE,) if ONE_FILE in volumes else MODALITIES
    images = [volumes[kind].path for kind in kinds if kind in volumes]
    item: Item = {"case": case, "patient": patient_of(case), "layout": layout, "image": images}
    if LABEL in volumes:
        item["label"] = volumes[LABEL].path
    return item


def _refuse_place(dataset_dir: str) -> None:
    if os.path.isdir(dataset_dir):
        return
    if not os.path.exists(dataset_dir):
        raise BundleError(f"dataset_dir {dataset_dir}: no such folder; give the folder that holds the cases")
    if os.path.isfile(dataset_dir) and zipfile.is_zipfile(dataset_dir):
        raise BundleError(f"dataset_dir {dataset_dir}: is a zip archive; unpack it and give the folder that it makes")
    raise BundleError(f"dataset_dir {dataset_dir}: is a file; give the folder that holds the cases")


def _is_wanted(volume: Volume, labels: Labels) -> bool:
    if labels == "ignored":
        return volume.kind != LABEL
    return os.path.basename(volume.place) != "imagesTs"  # MSD's cases without truth


def _warn_of_labels_elsewhere(groups: Iterable[Sequence[Volume]]) -> None:
    """Says it where truth does not lie beside its images: it may be an earlier result without a mark."""
    elsewhere = [
        volume.path
        for group in groups
        for volume in group
        if volume.kind == LABEL and volume.place != group[0].place and os.path.basename(volume.place) not in MSD_FOLDERS
    ]
    if elsewhere:
        logger.warning(
            f"the truth of {len(elsewhere)} cases lies in another folder than their scans, such as "
            f"{one_line(elsewhere[0])}: if these are predictions, move them out of the data set"
        )


def _group(volumes: list[Volume], root: str) -> dict[str, list[Volume]]:
    """Returns the volumes of each case by its id: images of one name and place, and their label map."""
    images: dict[tuple[str, str], list[Volume]] = defaultdict(list)
    for volume in volumes:
        if volume.kind != LABEL:
            images[volume.case, volume.place].append(volume)
    places: dict[str, list[str]] = defaultdict(list)
    cases_at: dict[str, list[str]] = defaultdict(list)
    for case, place in images:
        places[case].append(place)
        cases_at[place].append(case)
    labels_of: dict[str, list[Volume]] = defaultdict(list)
    labels_at: dict[str, list[Volume]] = defaultdict(list)
    for volume in volumes:
        if volume.kind == LABEL:
            labels_of[volume.case].append(volume)
            labels_at[volume.place].append(volume)
    groups: dict[str, list[Volume]] = defaultdict(list)
    for (case, place), found in images.items():
        alone = bool(case) and len(places[case]) == 1
        own = [label for label in labels_of[case] if alone or label.place == place]
        if not own and len(cases_at[place]) == 1:
            own = labels_at[place]
        groups[case if alone else _id_of(case, place, root)] += found + own
    return dict(groups)


def _id_of(case: str, place: str, root: str) -> str:
    """Returns the id of a case that its place tells: the folders below the root, and the name of its files."""
    parts = [] if place == root else os.path.relpath(place, root).split(os.sep)
    if case and case not in parts[-1:]:
        parts.append(case)
    return "_".join(parts) or os.path.basename(root)


def _describe(
    case: str, group: list[Volume], root: str, *, labels: Labels, predictions: Sequence[str], allow_missing: bool
) -> Item:
    volumes: dict[str, Volume] = {}
    fault = None
    for volume in group:
        first = volumes.setdefault(volume.kind, volume).path
        if first != volume.path:
            fault = f"{first}: is there twice, also as {volume.path}; remove or rename one"
    item = to_item(case, volumes)
    description = find_description(os.path.dirname(group[0].path), root)
    if description and ONE_FILE in volumes and (channels := read_channels(description)):
        item["channels"] = [channels.index(modality) for modality in MODALITIES]
    if "label" in item:
        try:
            values = read_segments(item["label"])
        except BundleError as error:
            values, fault = {}, fault or str(error)
        if values := values or (read_values(description) if description else {}):
            item["values"] = values
    if predictions and "label" not in item:
        said = f"{predictions[0]}: {UNMARK}"
        if labels == "required":
            fault = fault or said
        else:
            warn_once(said)
    if odd := refuse_name(case):
        item["fault"] = one_line(f"{group[0].path}: {odd}")
    elif fault := fault or _find_missing(volumes, labels=labels, allow_missing=allow_missing):
        item["fault"] = one_line(fault)
    elif ONE_FILE not in volumes and (missing := missing_of(volumes)):
        item["missing"] = missing
    return item


def _find_missing(volumes: Mapping[str, Volume], *, labels: Labels, allow_missing: bool) -> str | None:
    images = [] if ONE_FILE in volumes else missing_of(volumes)
    remedy = f"; {REMEDY}" if 0 < len(images) <= MOST_MISSING else ""
    if allow_missing and remedy:
        images, remedy = [], ""
    missing = [*images, *([LABEL] if labels == "required" and LABEL not in volumes else [])]
    if not missing:
        return None
    folder = os.path.dirname(next(iter(volumes.values())).path)
    if numbered := [kind for kind in volumes if kind.startswith("channel ")]:
        return f"{folder}: what {numbered[0]} of nnU-Net shows, a dataset.json must tell; put it above this folder"
    return f"{folder}: has no {' and no '.join(missing)} file{_found_in(folder)}; {_understood(missing)}{remedy}"


def _found_in(*folders: str) -> str:
    names = sorted(name for folder in folders for name in os.listdir(folder) if not name.startswith("."))
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f" (found {shown})" if names else " (it is empty)"


def _understood(kinds: list[str] | tuple[str, ...]) -> str:
    names = {kind: [name for name, of in KINDS.items() if of == kind] for kind in kinds}
    listed = "; ".join(f"{kind} as {', '.join(known)}" for kind, known in names.items() if known)
    return f"understood are <case>_<name>.nii.gz (or .nii, .nrrd, .mha), {listed}; rename or convert the files"
