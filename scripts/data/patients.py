# SPDX-License-Identifier: Apache-2.0
"""Which cases are of one patient: by the endings of ids that data sets give to time points, or by a pattern."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from scripts.base.errors import BundleError
from scripts.brats import Item

logger = logging.getLogger(__name__)

# what follows the patient in the id of a case, one ending after the other
_ENDINGS = re.compile(
    r"(?<=.)("
    r"(?<=\d{4})-\d{3}"  # BraTS 2023 and later: BraTS-GLI-00000-001
    r"|[_-](ses|session|visit|scan|exam|study|time|timepoint|tp|week|wk|month|day|year|fu|follow[_-]?up)"
    r"[_-]?\d+[a-z]?([_-]\d{1,2})?"  # BIDS, LUMIERE (week-000-1), UCSF-PDGM (FU001d), UCSF-ALPTDG (time1)
    r"|[_-]ses-[a-z0-9]+"  # BIDS: any label
    r"|[_-](baseline|follow[_-]?up|pre[_-]?op|post[_-]?op|initial|recurrence)"
    r"|[_-](19|20)\d{2}[.-]?\d{2}[.-]?\d{2}"  # TCGA: the date
    r")$",
    re.IGNORECASE,
)
_BRATS_2017 = re.compile(r"(brats1[789]_.+)_\d+", re.IGNORECASE)  # Brats18_CBICA_ABM_1
_UPENN = re.compile(r"(UPENN-GBM-\d+)_\d+", re.IGNORECASE)  # _11 before, _21 after the operation
_STEM = re.compile(r"(?P<stem>.*[a-z0-9]*\d[a-z0-9]*)[_.-](?P<last>[a-z]+|[a-z]*\d{1,3}[a-z]?)", re.IGNORECASE)


def patient_of(case: str) -> str:
    """Returns a case's patient: its id without the endings by which data sets tell time points."""
    if match := _of_known_data_set(case):
        return match[1]
    while match := _ENDINGS.search(case):
        case = case[: match.start()]
    return case


def _of_known_data_set(case: str) -> re.Match[str] | None:
    return _BRATS_2017.fullmatch(case) or _UPENN.fullmatch(case)


def set_patients(items: Sequence[Item], pattern: str) -> None:
    """Sets the patient of each case to what a regular expression finds in its id: the first group, or all of it.

    Raises:
        BundleError: where it is no regular expression, or finds nothing in an id.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise BundleError(f"patient_pattern {pattern}: is no regular expression ({error}); correct it") from error
    for item in items:
        match = compiled.search(item["case"])
        found = match and match[1 if compiled.groups else 0]
        if not found:
            raise BundleError(
                f"patient_pattern {pattern}: finds no patient in case {item['case']}; "
                r"give one such as '^(sub-\d+)', whose first group is the patient"
            )
        item["patient"] = found


def warn_of_shared_stems(items: Iterable[Item]) -> None:
    """Warns where patients' ids differ in a short ending alone, which may be a time point that is not known here."""
    stems: dict[str, list[str]] = defaultdict(list)
    patients = sorted({item["patient"] for item in items if not _of_known_data_set(item["case"])})
    for patient in patients:
        if match := _STEM.fullmatch(patient):
            stems[match["stem"]].append(patient)
    shared = {stem: alike for stem, alike in stems.items() if 1 < len(alike) < len(patients)}
    if shared:
        stem, alike = next(iter(shared.items()))
        logger.warning(
            f"{', '.join(alike[:3])} may be time points of one patient, {stem}, but count as {len(alike)} patients, "
            f"who may be split between training and held out ({len(shared)} such groups); "
            "if they are, give the setting patient_pattern"
        )
