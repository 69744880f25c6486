# SPDX-License-Identifier: Apache-2.0
"""Finds the cases of a data set by the names of its files and folders."""

from __future__ import annotations

import glob
import logging
import os
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from monai.data.utils import json_hashing
from monai.utils import ensure_tuple

from scripts.base.errors import BundleError, one_line
from scripts.brats import MODALITIES, Item, Labels
from scripts.data.description import find_description, read_channels, read_values
from scripts.data.file_names import KINDS, LABEL, SUFFIX, parse_name, refuse_name
from scripts.data.own_files import is_own_file
from scripts.data.patients import patient_of

logger = logging.getLogger(__name__)

ONE_FILE = "4d"  # the kind of a file that holds all modalities
MSD_FOLDERS = {"imagesTr": ONE_FILE, "labelsTr": LABEL, "imagesTs": ONE_FILE}
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")  # nnU-Net's images


class Volume(NamedTuple):
    """A volume that was found.

    Attributes:
        place: folder of the case: that of the file, or the one above where the folder is of a modality.
        case: id of the case, or '' where only the place tells it.
        kind: a modality, `LABEL`, `ONE_FILE`, or 'channel NNNN' of nnU-Net without a description.
        name: how the file calls its kind.
        path: of the file, or of the folder of DICOM files.
    """

    place: str
    case: str
    kind: str
    name: str
    path: str


def find_cases(dataset_dir: str, *, labels: Labels = "required") -> list[Item]:
    """Finds the cases of every layout in a folder, in its sub-folders, or in a folder that is a case itself.

    A case's id is what its files are called before the modality (`<case>_t1.nii.gz`). Files that are just `t1.nii.gz`,
    or folders of DICOM files `t1/`, are identified by the path of their folder: `patient1/ses-1/t1.nii.gz` is of
    `patient1_ses-1`. Skipped are files with other names, hidden files, links to a folder that was already searched, and
    label maps that this bundle wrote, which are predictions. A `dataset.json` tells what channels and values mean.

    Returns:
        Items of all cases, sorted by id. A case that lacks a file, has one twice, or whose id cannot name a file, has a
        `fault` that says so; it is listed because the split must not depend on it.

    Raises:
        BundleError: where the folder does not exist, cannot be read or holds no case, or its `dataset.json` cannot be
            understood.
    """
    _refuse_place(dataset_dir)
    root = os.path.abspath(dataset_dir)
    volumes = list(_find_volumes(root, labels=labels))
    groups = _group(volumes, root)
    if not groups:
        found = _found_in(*(place for place, _, files in os.walk(root) if files))
        raise BundleError(f"dataset_dir {dataset_dir}: no case found{found}; {_understood(MODALITIES)}")
    return [_describe(case, group, root, labels=labels) for case, group in sorted(groups.items())]


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


def to_volume(path: str) -> Volume:
    """Returns what the path of a file tells by itself."""
    told = parse_name(os.path.basename(path))
    return Volume(os.path.dirname(path), told.case, told.kind, told.name, path)


def hash_item(item: Item) -> bytes:
    """Hashes an item together with the size and time of its files, as `hash_func` of MONAI's caching data sets.

    MONAI's own hashes cover paths only, so that a replaced file would still be served from the cache.
    """
    # an item from elsewhere may give a path alone
    paths = [*ensure_tuple(item["image"]), *ensure_tuple(item.get("label", ()))]
    status = {file: os.stat(file) for path in paths for file in files_of(path)}
    return json_hashing([item, [(file, stat.st_size, stat.st_mtime_ns) for file, stat in status.items()]])


def files_of(path: str) -> list[str]:
    """Returns the files of a volume: itself, or those in its folder; none where it is missing."""
    return [path] if os.path.isfile(path) else sorted(glob.glob(os.path.join(glob.escape(path), "*")))


def _refuse_place(dataset_dir: str) -> None:
    if os.path.isdir(dataset_dir):
        return
    if not os.path.exists(dataset_dir):
        raise BundleError(f"dataset_dir {dataset_dir}: no such folder; give the folder that holds the cases")
    if os.path.isfile(dataset_dir) and zipfile.is_zipfile(dataset_dir):
        raise BundleError(f"dataset_dir {dataset_dir}: is a zip archive; unpack it and give the folder that it makes")
    raise BundleError(f"dataset_dir {dataset_dir}: is a file; give the folder that holds the cases")


def _find_volumes(root: str, *, labels: Labels) -> Iterator[Volume]:
    seen: set[str] = set()  # links may lead back, and around for ever
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse_folder):
        if (place := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        files = sorted(name for name in files if not name.startswith("."))
        for volume in _volumes_in(folder, files, root, labels=labels):
            if volume.kind != LABEL or not (labels == "ignored" or is_own_file(volume.path)):
                yield volume


def _volumes_in(folder: str, files: list[str], root: str, *, labels: Labels) -> Iterator[Volume]:
    above, of_folder = os.path.dirname(folder), parse_name(os.path.basename(folder))
    is_below = folder != root
    paths = [os.path.join(folder, name) for name in files if SUFFIX.search(name)]
    if os.path.basename(folder) in MSD_FOLDERS:
        if os.path.basename(folder) != "imagesTs" or labels == "ignored":
            yield from _in_msd_folder(folder, paths, root)
    elif is_below and of_folder.kind and not paths:
        if files and not of_folder.case:
            yield Volume(above, "", of_folder.kind, of_folder.name, folder)  # of DICOM files
    elif is_below and of_folder.kind and SUFFIX.search(folder):  # a folder that is named as the file in it
        yield from (Volume(above, of_folder.case, of_folder.kind, of_folder.name, path) for path in paths)
    else:
        of_modality = is_below and of_folder.kind and not of_folder.case
        for volume in _settle([to_volume(path) for path in paths]):
            if of_modality and not volume.kind:  # t1/case_01.nii.gz
                volume = Volume(above, volume.case, of_folder.kind, of_folder.name, volume.path)
            elif of_modality:
                volume = volume._replace(place=above)
            if volume.kind:
                yield volume


def _settle(volumes: list[Volume]) -> Iterator[Volume]:
    """Takes `p_t2_flair` for FLAIR of the case `p_t2`, and not of `p`, where there are other files of `p_t2`."""
    certain = {volume.case for volume in volumes if "_" not in volume.name}
    for volume in volumes:
        last = volume.name.rpartition("_")[2]
        longer = SUFFIX.sub("", os.path.basename(volume.path))[: -len(last) - 1]
        is_longer = "_" in volume.name and last in KINDS and longer in certain
        yield volume._replace(case=longer, kind=KINDS[last], name=last) if is_longer else volume


def _in_msd_folder(folder: str, paths: list[str], root: str) -> Iterator[Volume]:
    kind = MSD_FOLDERS[os.path.basename(folder)]
    stems = {path: SUFFIX.sub("", os.path.basename(path)) for path in paths}
    numbered = {path: match for path, stem in stems.items() if (match := _CHANNEL.fullmatch(stem))}
    first = {match["case"] for match in numbered.values() if match["channel"] == "0000"}
    several = {match["case"] for match in numbered.values() if match["channel"] == "0001"} & first
    description = find_description(folder, root)
    channels = read_channels(description) if description and several else []
    for path, stem in stems.items():
        match = numbered.get(path)
        if kind == ONE_FILE and match and match["case"] in several:
            index = int(match["channel"])
            of_channel = channels[index] if index < len(channels) else f"channel {match['channel']}"
            yield Volume(folder, match["case"], of_channel, "", path)
        else:
            yield Volume(folder, stem, kind, "", path)


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


def _describe(case: str, group: list[Volume], root: str, *, labels: Labels) -> Item:
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
    if description and "label" in item and (values := read_values(description)):
        item["values"] = values
    if odd := refuse_name(case):
        item["fault"] = one_line(f"{group[0].path}: {odd}")
    elif fault := fault or _find_missing(volumes, labels=labels):
        item["fault"] = one_line(fault)
    return item


def _find_missing(volumes: Mapping[str, Volume], *, labels: Labels) -> str | None:
    needed = [*((ONE_FILE,) if ONE_FILE in volumes else MODALITIES), *([LABEL] if labels == "required" else [])]
    missing = [kind for kind in needed if kind not in volumes]
    if not missing:
        return None
    folder = os.path.dirname(next(iter(volumes.values())).path)
    if numbered := [kind for kind in volumes if kind.startswith("channel ")]:
        return f"{folder}: what {numbered[0]} of nnU-Net shows, a dataset.json must tell; put it above this folder"
    return f"{folder}: has no {' and no '.join(missing)} file{_found_in(folder)}; {_understood(missing)}"


def _found_in(*folders: str) -> str:
    names = sorted(name for folder in folders for name in os.listdir(folder) if not name.startswith("."))
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f" (found {shown})" if names else " (it is empty)"


def _understood(kinds: list[str] | tuple[str, ...]) -> str:
    names = {kind: [name for name, of in KINDS.items() if of == kind] for kind in kinds}
    listed = "; ".join(f"{kind} as {', '.join(known)}" for kind, known in names.items() if known)
    return f"understood are <case>_<name>.nii.gz (or .nii, .nrrd, .mha), {listed}"


def _refuse_folder(error: OSError) -> None:
    raise BundleError(f"{error.filename}: cannot be read ({error.strerror}); grant access or move it away") from error
