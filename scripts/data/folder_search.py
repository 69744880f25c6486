# SPDX-License-Identifier: Apache-2.0
"""Searches a folder for volumes, and tells by names what each of them is of."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from scripts.base.errors import BundleError
from scripts.base.results import is_result
from scripts.data.description import find_description, read_channels
from scripts.data.file_names import KINDS, LABEL, SUFFIX, parse_name

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


def find_volumes(root: str) -> Iterator[Volume]:
    """Yields the volumes below a folder.

    Left out are hidden files and folders, what macOS adds to archives, and what this bundle wrote (`results`); a
    folder that several links lead to is searched once.

    Raises:
        BundleError: where a folder cannot be read.
    """
    seen: set[str] = set()  # links may lead back, and around for ever
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse_folder):
        if (place := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != "__MACOSX")
        files = sorted(name for name in files if not name.startswith("."))
        yield from _volumes_in(folder, [name for name in files if not is_result(os.path.join(folder, name))], root)


def to_volume(path: str) -> Volume:
    """Returns what the path of a file tells by itself."""
    told = parse_name(os.path.basename(path))
    return Volume(os.path.dirname(path), told.case, told.kind, told.name, path)


def _volumes_in(folder: str, files: list[str], root: str) -> Iterator[Volume]:
    above, of_folder = os.path.dirname(folder), parse_name(os.path.basename(folder))
    is_below = folder != root
    paths = [os.path.join(folder, name) for name in files if SUFFIX.search(name)]
    if os.path.basename(folder) in MSD_FOLDERS:
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


def _refuse_folder(error: OSError) -> None:
    raise BundleError(f"{error.filename}: cannot be read ({error.strerror}); grant access or move it away") from error
