# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property, partial
from pathlib import Path

from monai.data import load_decathlon_datalist, partition_dataset
from monai.utils import ensure_tuple, str2bool

from scripts.base.errors import BundleError, one_line, report_bundle_errors
from scripts.brats import LABEL_VALUES, MODALITIES, MSD_CHANNELS, Item
from scripts.data.checks import check_cases
from scripts.data.discovery import find_cases, parse_path, refuse_name, to_item

logger = logging.getLogger(__name__)

_TISSUES = ("background", "necrotic and non-enhancing core", "oedema", "enhancing tumour")


@dataclass(eq=False)
class Cohort:
    """The cases of a data set: found, checked and split by patient when first asked for, each case checked once.

    Args:
        dataset_dir: folder of the cases, of any layout; not looked at where a data list is given.
        datalist: MONAI data list (JSON) that replaces discovery and seeded split; its `validation` is held out.
        labels: whether each case must have a label (True), may have one (None; the split stays that of True), or labels
            are ignored (False), and MSD's `imagesTs` is looked into.
        skip_invalid: leaves broken cases out, with a warning each, instead of raising.
        held_out_fraction: share of the patients that is held out.
        seed: of the split.
        cache_dir: folder that remembers which cases are sound.

    Attributes:
        problems: the fault of each case that was checked and left out, by case id.

    Raises:
        BundleError: when cases are asked for and one is broken, or with `skip_invalid` when no sound one is left.
    """

    dataset_dir: str
    _: KW_ONLY
    datalist: str | None = None
    labels: bool | None = True
    skip_invalid: bool = False
    held_out_fraction: float = 0.2
    seed: int = 0
    cache_dir: str | None = None
    problems: dict[str, str] = field(default_factory=dict, init=False)

    @cached_property
    def all(self) -> list[Item]:
        """All sound cases."""
        return self._check(self._found)

    @property
    def training(self) -> list[Item]:
        """Those of `all` to train with."""
        return self._side(0, "to train with")

    @property
    def held_out(self) -> list[Item]:
        """Those of `all` that training must not see."""
        return self._side(1, "held out")

    def select(self, split: str) -> list[Item]:
        """Returns the sound cases of `all`, `held_out` or a data list (.json): its `validation`; checks no others."""
        if split == "all":
            return self.all
        if split == "held_out":
            return self._check(self._sides[1])
        if split.endswith(".json"):
            return self._check(read_datalist(split, labels=self.labels)[1])
        raise BundleError(f"split {split}: allowed are all, held_out and the path of a data list (.json)")

    def besides(self, others: Sequence[Item]) -> list[Item]:
        """Gives those of `all` whose patients are not among the others."""
        patients = {item["patient"] for item in others}
        return [item for item in self.all if item["patient"] not in patients]

    def raise_if_problems(self) -> None:
        """Raises a `BundleError` that lists every case left out: for the end of a run that went on without them."""
        if self.problems:
            raise BundleError(f"cases left out: {len(self.problems)}{_listed(self.problems)}")

    @cached_property
    def _found(self) -> list[Item]:
        if self.datalist is None:
            return find_cases(self.dataset_dir, labels=self.labels)
        return [item for side in self._sides for item in side]

    @cached_property
    def _sides(self) -> tuple[list[Item], list[Item]]:
        if self.datalist is not None:
            return read_datalist(self.datalist, labels=self.labels)
        # Broken cases are split too, so that a bad file does not change who is held out.
        return split_by_patient(self._found, held_out_fraction=self.held_out_fraction, seed=self.seed)

    def _side(self, index: int, name: str) -> list[Item]:
        sound = {item["case"] for item in self.all}
        if side := [item for item in self._sides[index] if item["case"] in sound]:
            return side
        raise BundleError(f"none of the {len(self._sides[index])} cases {name} can be used{_listed(self.problems, 5)}")

    def _check(self, items: list[Item]) -> list[Item]:
        faults = check_cases(items, cache_dir=self.cache_dir)
        sound = [item for item in items if item["case"] not in faults]
        if not sound or (faults and not self.skip_invalid):
            remedy = "correct them, or go on without by `--skip_invalid true`" if sound else "none is left"
            raise BundleError(f"{len(faults)} of {len(items)} cases cannot be used: {remedy}{_listed(faults, 5)}")
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
        raise BundleError(f"held_out_fraction {held_out_fraction}, seed {seed}: allowed are (0, 1) and 0 or more")
    patients = sorted({item["patient"] for item in items})
    if len(patients) < 2:
        raise BundleError(f"{len(items)} cases of {len(patients)} patient: too small to split, add a second patient")
    count = min(max(round(held_out_fraction * len(patients)), 1), len(patients) - 1)
    held_out, _ = partition_dataset(patients, ratios=[count, len(patients) - count], shuffle=True, seed=seed)
    items = sorted(items, key=lambda item: item["case"])
    training = [item for item in items if item["patient"] not in held_out]
    return training, [item for item in items if item["patient"] in held_out]


def write_datalist(path: str, training: Sequence[Item], validation: Sequence[Item]) -> None:
    """Writes a data list in the format of MONAI and the Medical Segmentation Decathlon, paths relative to its folder.

    Raises:
        BundleError: where the file cannot be written.
    """
    layout = [*training, *validation][0]["layout"]
    content = {
        "name": "BraTS",
        "description": f"Brain tumours in MRI, split by patient; modality and labels as of the layout {layout}",
        "modality": dict(sorted(zip(MSD_CHANNELS if layout == "msd" else range(4), MODALITIES))),
        "labels": dict(sorted(zip((0, *LABEL_VALUES[layout]), _TISSUES))),
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


def read_datalist(path: str, *, labels: bool | None = True) -> tuple[list[Item], list[Item]]:
    """Reads the sections `training` and `validation` of a data list written here or elsewhere.

    What an entry lacks of `case`, `patient` and `layout` is told by its file names, and four images whose names tell
    the modality are put in the order T1, T1ce, T2, FLAIR. Labels are needed (True), optional (None) or ignored (False).

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
    report_bundle_errors()
    parser = argparse.ArgumentParser(
        prog="python -m scripts.data.datalist", description="Checks and splits BraTS cases."
    )
    parser.add_argument("dataset_dir", help="folder of the cases, of any BraTS layout")
    parser.add_argument("--output", required=True, help="data list (JSON) to write")
    parser.add_argument("--held_out_fraction", type=float, default=0.2, help="share of patients held out (0.2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split (0)")
    parser.add_argument("--skip_invalid", nargs="?", const=True, type=str2bool, help="go on without broken cases")
    options = vars(parser.parse_args())
    output = options.pop("output")
    cohort = Cohort(**options)
    write_datalist(output, cohort.training, cohort.held_out)
    layouts = Counter(item["layout"] for item in cohort.all)
    counts = ", ".join(f"{layout} {layouts[layout]}" for layout in sorted(layouts))
    print(f"{len(cohort.all)} cases of {len({item['patient'] for item in cohort.all})} patients: {counts}")
    print(f"training {len(cohort.training)}, held out {len(cohort.held_out)}, left out {len(cohort.problems)}")
    print(f"written to {output}")


def _listed(faults: dict[str, str], limit: int | None = None) -> str:
    lines = [f"\n  {one_line(case)}: {fault}" for case, fault in faults.items()]
    return "".join(lines[:limit]) + (f"\n  and {len(lines) - limit} more" if limit and len(lines) > limit else "")


def _from_entry(entry: Item, *, labels: bool | None) -> Item:
    image = entry.get("image")
    if not isinstance(image, str) and not (isinstance(image, list) and [type(path) for path in image] == [str] * 4):
        raise ValueError(f"image is {image}, allowed are four paths or the path of one 4D file")
    if labels and not isinstance(entry.get("label"), str):
        raise ValueError(f"{image} has no label")
    # MONAI turns any string that names an existing path into that path, and a case often does.
    told = {key: os.path.basename(entry[key]) for key in ("case", "patient", "layout") if key in entry}
    if told.get("layout", "msd") not in LABEL_VALUES:
        raise ValueError(f"layout {told['layout']} is unknown, allowed are {', '.join(LABEL_VALUES)}")
    volumes = {"4d": image} if isinstance(image, str) else {parse_path(path)[1]: path for path in image}
    item = to_item(told.get("case", parse_path(ensure_tuple(image)[0])[0]), volumes)
    if len(item["image"]) < len(image):  # names that tell no modality: the list's order holds
        item["image"] = image
    if odd := refuse_name((item | told)["case"]):
        raise ValueError(odd)
    return item | told | ({"label": entry["label"]} if labels is not False and entry.get("label") else {})


def _relative_to(path: str, item: Item) -> Item:
    relative = partial(os.path.relpath, start=os.path.dirname(os.path.abspath(path)))
    image = item["image"]
    files = {"image": relative(image) if isinstance(image, str) else [relative(file) for file in image]}
    return item | files | ({"label": relative(item["label"])} if "label" in item else {})


if __name__ == "__main__":
    main()
