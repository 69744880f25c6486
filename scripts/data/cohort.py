# SPDX-License-Identifier: Apache-2.0
"""The cases of a data set: found, checked, and split by patient."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property

from monai.data import partition_dataset
from monai.utils import ensure_tuple

from scripts.base.errors import BundleError, one_line
from scripts.brats import Item, Labels
from scripts.data.checks import check_cases
from scripts.data.datalist import read_datalist
from scripts.data.discovery import find_cases
from scripts.data.names import find_by_names
from scripts.data.patients import set_patients, warn_of_shared_stems

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class Cohort:
    """The cases of a data set, found, checked and split by patient when they are first asked for.

    Checking a case reads all of its voxels, which takes about a second a case; each case is checked once.

    Args:
        dataset_dir: folder of the cases, of any layout, or with `names` several; ignored where a data list is given.
        datalist: MONAI data list (JSON) that replaces discovery and the seeded split; its `validation` is held out.
        names: JSON that replaces the seeded split: the names of the cases on either side (`find_by_names`).
        labels: whether each case must have a label map (`required`), may have one (`optional`, which leaves the split
            as it is with `required`), or label maps are `ignored` and MSD's `imagesTs` is searched as well.
        allow_missing: whether a case may lack one or two modalities (`Item.missing`); for inference only.
        skip_invalid: leaves broken cases out, with a warning each, instead of raising.
        held_out_fraction: fraction of the patients that is held out.
        seed: seed of the split.
        cache_dir: folder that remembers which cases are sound.
        patient_pattern: regular expression that finds the patient in the id of a case; None for the endings that data
            sets give to time points (`patients`).

    Attributes:
        problems: the fault of each case that was checked and left out, by case id.

    Raises:
        BundleError: when cases are asked for and one is broken, or with `skip_invalid` when no sound one is left.
    """

    dataset_dir: str | Sequence[str]
    _: KW_ONLY
    datalist: str | None = None
    names: str | None = None
    labels: Labels = "required"
    allow_missing: bool = False
    skip_invalid: bool = False
    held_out_fraction: float = 0.2
    seed: int = 0
    cache_dir: str | None = None
    patient_pattern: str | None = None
    problems: dict[str, str] = field(default_factory=dict, init=False)

    def sound_cases(self) -> list[Item]:
        """Returns all cases without a fault."""
        return self._sound

    def training_cases(self) -> list[Item]:
        """Returns the sound cases to train with."""
        return self._side(0, "to train with")

    def held_out_cases(self) -> list[Item]:
        """Returns the sound cases that training must not see."""
        return self._side(1, "held out")

    def select(self, split: str) -> list[Item]:
        """Returns the sound cases of a split and checks no others.

        Args:
            split: `all`, `held_out`, or the path of a data list (.json), of which `validation` is taken.
        """
        if split == "all":
            return self.sound_cases()
        if split == "held_out":
            return self._check(self._sides[1])
        if split.endswith(".json"):
            return self._check(self._read(split)[1])
        raise BundleError(f"split {split}: allowed are all, held_out and the path of a data list (.json)")

    def without_patients_of(self, others: Sequence[Item]) -> list[Item]:
        """Returns the sound cases whose patients are not among those of `others`."""
        patients = {item["patient"] for item in others}
        return [item for item in self.sound_cases() if item["patient"] not in patients]

    def raise_if_problems(self) -> None:
        """Raises a `BundleError` that lists every case left out: for the end of a run that went on without them."""
        if self.problems:
            raise BundleError(f"cases left out: {len(self.problems)}{_listed(self.problems)}")

    @cached_property
    def _found(self) -> list[Item]:
        if self.datalist is None and self.names is None:
            found = find_cases(str(self.dataset_dir), labels=self.labels, allow_missing=self.allow_missing)
            if self.patient_pattern is not None:
                set_patients(found, self.patient_pattern)
            return found
        return [item for side in self._sides for item in side]

    @cached_property
    def _sound(self) -> list[Item]:
        return self._check(self._found)

    @cached_property
    def _sides(self) -> tuple[list[Item], list[Item]]:
        if self.datalist is not None:
            return self._read(self.datalist)
        if self.names is not None:
            return find_by_names(ensure_tuple(self.dataset_dir), self.names)
        if self.patient_pattern is None:
            warn_of_shared_stems(self._found)
        # Broken cases are split too, so that a bad file does not change who is held out.
        return split_by_patient(self._found, held_out_fraction=self.held_out_fraction, seed=self.seed)

    def _read(self, datalist: str) -> tuple[list[Item], list[Item]]:
        return read_datalist(datalist, labels=self.labels, allow_missing=self.allow_missing)

    def _side(self, index: int, name: str) -> list[Item]:
        sound = {item["case"] for item in self.sound_cases()}
        if side := [item for item in self._sides[index] if item["case"] in sound]:
            return side
        raise BundleError(f"none of the {len(self._sides[index])} cases {name} can be used{_listed(self.problems, 5)}")

    def _check(self, items: list[Item]) -> list[Item]:
        faults = check_cases(items, cache_dir=self.cache_dir)
        sound = [item for item in items if item["case"] not in faults]
        if not sound or (faults and not self.skip_invalid):
            rest = "or leave them out with `--skip_invalid true`" if sound else "for none is left"
            raise BundleError(
                f"{len(faults)} of {len(items)} cases cannot be used: correct them, {rest}{_listed(faults, 5)}"
            )
        for case, fault in faults.items():
            logger.warning("left out case %s: %s", one_line(case), fault)
        self.problems |= faults
        return sound


def split_by_patient(items: Sequence[Item], *, held_out_fraction: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Splits cases into (training, held out) with no patient on both sides, whatever the order of the cases.

    Raises:
        BundleError: for a fraction outside (0, 1), a negative seed, or fewer than two patients.
    """
    if not 0 < held_out_fraction < 1 or seed < 0:
        raise BundleError(
            f"held_out_fraction {held_out_fraction}, seed {seed}: "
            "the fraction must lie between 0 and 1, the seed be 0 or more"
        )
    patients = sorted({item["patient"] for item in items})
    if len(patients) < 2:
        raise BundleError(
            f"{len(items)} cases of {len(patients)} patient: too small to split; add a second patient, "
            "or evaluate all of them with `--split all`"
        )
    count = min(max(round(held_out_fraction * len(patients)), 1), len(patients) - 1)
    held_out, _ = partition_dataset(patients, ratios=[count, len(patients) - count], shuffle=True, seed=seed)
    items = sorted(items, key=lambda item: item["case"])
    training = [item for item in items if item["patient"] not in held_out]
    return training, [item for item in items if item["patient"] in held_out]


def _listed(faults: dict[str, str], limit: int | None = None) -> str:
    lines = [f"\n  {one_line(case)}: {fault}" for case, fault in faults.items()]
    return "".join(lines[:limit]) + (f"\n  and {len(lines) - limit} more" if limit and len(lines) > limit else "")
