# SPDX-License-Identifier: Apache-2.0
"""What the name of a file tells: the case and the modality, or that it is a label map."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from scripts.base.errors import one_line
from scripts.brats import LABEL_NAMES, MODALITY_NAMES

LABEL = "seg"
KINDS = {name: kind for kind, names in (MODALITY_NAMES | {LABEL: LABEL_NAMES}).items() for name in names}
SUFFIX = re.compile(r"(\.seg)?\.(nii|nii\.gz|nrrd|mha)$", re.IGNORECASE)
MAX_NAME = 200  # bytes: file systems allow 255, and the names of results append to the case's id
_NAMES = "|".join(name.replace("_", "[_-]") for name in KINDS)
VOLUME = re.compile(rf"((?P<case>.+?)[_-])?(?P<name>{_NAMES})", re.IGNORECASE | re.DOTALL)
# BIDS: entities between the session and the suffix, such as space-SRI; ce-<agent> marks the contrast agent
BIDS = re.compile(
    r"(?P<case>sub-[a-z0-9]+(_ses-[a-z0-9]+)?)(?P<entities>(_[a-z]+-[a-z0-9.+]+)+)_(?P<name>t1w|t2w|flair|dseg)",
    re.IGNORECASE,
)


class FileName(NamedTuple):
    """What a file's name, or the name of a folder of DICOM files, tells.

    Attributes:
        case: id of the case, or '' where the name is that of a modality alone.
        kind: a modality, `LABEL`, or '' where the name is none of these.
        name: how the file calls its kind, in small letters.
    """

    case: str
    kind: str
    name: str


def parse_name(file: str) -> FileName:
    """Returns what the name of a file (without folders) tells."""
    suffix = SUFFIX.search(file)
    stem = file[: suffix.start()] if suffix else file
    if bids := BIDS.fullmatch(stem):
        name = bids["name"].lower()
        with_agent = name == "t1w" and re.search("_ce-", bids["entities"], re.IGNORECASE)
        return FileName(bids["case"], "T1ce" if with_agent else KINDS[name], name)
    if match := VOLUME.fullmatch(stem):
        name = match["name"].lower().replace("-", "_")
        return FileName(match["case"] or "", KINDS[name], name)
    return FileName(stem, LABEL if suffix and suffix[1] else "", LABEL if suffix and suffix[1] else "")


def parse_path(path: str) -> FileName:
    """Returns what a path tells; a file that is named by its modality alone has the name of its folder."""
    folder, file = path.split(os.sep)[-2:]
    told = parse_name(file)
    return told if told.case else told._replace(case=folder)


def refuse_name(case: str) -> str | None:
    """Returns why a case's id cannot begin the names of result files, or None where it can."""
    if not case.strip(". ") or os.path.basename(case) != case or not case.isprintable():
        return f"case '{one_line(case)}' cannot name a file; rename it, with letters, digits, spaces and signs"
    if len(os.fsencode(case)) > MAX_NAME:
        return f"case {case[:20]}... has a name of {len(os.fsencode(case))} bytes; allowed are {MAX_NAME}, rename it"
    return None
