# SPDX-License-Identifier: Apache-2.0
"""Finds the cases of a data set by the names of its files and folders."""

from __future__ import annotations

import glob
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from monai.data.utils import json_hashing
from monai.utils import ensure_tuple

from scripts.base.errors import BundleError, one_line
from scripts.brats import MODALITY_WORDS, Item, Labels
from scripts.data.own_files import is_own_file

_WORDS = MODALITY_WORDS["brats2021"] + MODALITY_WORDS["brats2023"]
# File systems allow 255 bytes, and the names of results append to the case's id.
MAX_NAME = 200
_SUFFIX = re.compile(r"\.(nii|nii\.gz|nrrd|mha)$", re.IGNORECASE)
_VOLUME = re.compile(
    rf"((?P<case>.+)[_-])?(?P<kind>seg|{'|'.join(_WORDS)})({_SUFFIX.pattern})?", re.IGNORECASE | re.DOTALL
)
_PATIENT = re.compile(r"brats1[789]_.+(?=_\d+$)|brats-.+-\d+(?=-\d{3}$)", re.IGNORECASE)


def find_cases(dataset_dir: str, *, labels: Labels = "required") -> list[Item]:
    """Finds the cases of every layout in a folder, in its sub-folders, or in a folder that is a case itself.

    A case's id is what its files are called before the modality (`<case>_t1.nii.gz`), or the folder's name where they
    are just `t1.nii.gz` or folders of DICOM files `t1/`. Hidden files and links to a folder that was already searched
    are skipped. A label map that this bundle wrote is a prediction, and never taken for truth.

    Returns:
        Items of all cases, sorted by id. A case that lacks a file, has one twice, or whose id cannot name a file, has a
        `fault` that says so; it is listed because the split must not depend on it.

    Raises:
        BundleError: where the folder does not exist, cannot be read or holds no case.
    """
    if not os.path.isdir(dataset_dir):
        raise BundleError(f"dataset_dir {dataset_dir}: no such folder; give the folder that holds the cases")
    cases: dict[str, dict[str, str]] = defaultdict(dict)
    faults: dict[str, str] = {}
    for case, kind, path in _find_volumes(os.path.abspath(dataset_dir), labels=labels):
        first = cases[case].setdefault(kind, path)
        if first != path:
            faults[case] = f"{first}: is there twice, also as {path}; remove or rename one"
    if not cases:
        raise BundleError(
            f"dataset_dir {dataset_dir}: no case found; looked for <case>_{{t1,t1ce,t2,flair}}.nii.gz, "
            "<case>-{t1n,t1c,t2w,t2f}.nii.gz (or .nii, .nrrd, .mha), MSD's imagesTr/ and DICOM folders <case>/t1/ ..."
        )
    items = [to_item(case, volumes) for case, volumes in sorted(cases.items())]
    for item in items:
        volumes = cases[item["case"]]
        if odd := refuse_name(item["case"]):
            item["fault"] = one_line(f"{next(iter(volumes.values()))}: {odd}")
        elif fault := faults.get(item["case"]) or _find_missing(item["layout"], volumes, labels=labels):
            item["fault"] = one_line(fault)
    return items


def to_item(case: str, volumes: Mapping[str, str]) -> Item:
    """Returns the item of a case, given its paths by kind: a modality's word, `seg` or `4d`."""
    layout = "msd" if "4d" in volumes else "brats2023" if {*MODALITY_WORDS["brats2023"]} & {*volumes} else "brats2021"
    images = [volumes[kind] for kind in MODALITY_WORDS[layout] if kind in volumes]
    item: Item = {"case": case, "patient": patient_of(case), "layout": layout, "image": images}
    if "seg" in volumes:
        item["label"] = volumes["seg"]
    return item


def parse_path(path: str) -> tuple[str, str]:
    """Returns the case and the kind (a modality's word, `seg` or '') that a path names."""
    folder, name = path.split(os.sep)[-2:]
    match = _VOLUME.fullmatch(name)
    return (match["case"] or folder, match["kind"].lower()) if match else (_SUFFIX.sub("", name), "")


def patient_of(case: str) -> str:
    """Returns a case's patient: its id without the time point that BraTS 2017-2019 and 2023 and later append."""
    match = _PATIENT.match(case)
    return match[0] if match else case


def refuse_name(case: str) -> str | None:
    """Returns why a case's id cannot begin the names of result files, or None where it can."""
    if not case.strip(". ") or os.path.basename(case) != case or not case.isprintable():
        return f"case '{one_line(case)}' cannot name a file; rename it, with letters, digits, spaces and signs"
    if len(os.fsencode(case)) > MAX_NAME:
        return f"case {case[:20]}... has a name of {len(os.fsencode(case))} bytes; allowed are {MAX_NAME}, rename it"
    return None


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


def _find_volumes(root: str, *, labels: Labels) -> Iterator[tuple[str, str, str]]:
    """Yields case, kind (a modality's word, `seg` or `4d`) and path of each volume."""
    msd = {"imagesTr": "4d", "labelsTr": "seg"} | ({"imagesTs": "4d"} if labels == "ignored" else {})
    seen: set[str] = set()  # links may lead back, and around for ever
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse_folder):
        if (place := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        files = [name for name in files if not name.startswith(".")]
        paths = [os.path.join(folder, name) for name in files if _SUFFIX.search(name)]
        if files and not paths and folder != root and os.path.basename(folder).lower() in _WORDS:
            paths = [folder]  # of DICOM files
        for path in paths:
            case, kind = parse_path(path)
            kind = msd.get(os.path.basename(os.path.dirname(path)), kind)
            if not kind or (kind == "seg" and (labels == "ignored" or is_own_file(path))):
                continue
            yield case, kind, path


def _refuse_folder(error: OSError) -> None:
    raise BundleError(f"{error.filename}: cannot be read ({error.strerror}); grant access or move it away") from error


def _find_missing(layout: str, volumes: Mapping[str, str], *, labels: Labels) -> str | None:
    needed = [*MODALITY_WORDS[layout], *(["seg"] if labels == "required" else [])]
    missing = " and no ".join(kind for kind in needed if kind not in volumes)
    folder = os.path.dirname(next(iter(volumes.values())))
    return f"{folder}: has no {missing} file; add what is missing" if missing else None
