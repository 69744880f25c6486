# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import argparse
import json
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

from monai.data import load_decathlon_datalist, partition_dataset
from monai.utils import ensure_tuple

from scripts.checks import Item, check_cases
from scripts.checks import hash_item as hash_item
from scripts.errors import BundleError, report_bundle_errors

logger = logging.getLogger(__name__)

# The words for T1, T1ce, T2 and FLAIR in file names, in the order of the network's input channels.
MODALITIES = {"brats2021": ("t1", "t1ce", "t2", "flair"), "brats2023": ("t1n", "t1c", "t2w", "t2f")}
_WORDS = [word for words in MODALITIES.values() for word in words]
_SUFFIX = re.compile(r"\.(nii|nii\.gz|nrrd|mha)$", re.IGNORECASE)
_VOLUME = re.compile(rf"((?P<case>.+)[_-])?(?P<kind>seg|{'|'.join(_WORDS)}){_SUFFIX.pattern}", re.IGNORECASE)
_PATIENT = re.compile(r"brats1[789]_.+(?=_\d+$)|brats-.+-\d+(?=-\d{3}$)", re.IGNORECASE)

_BRATS_CHANNELS = {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"}
_BRATS_LABELS = {"0": "background", "1": "necrotic and non-enhancing core", "2": "oedema"}
_MEANINGS = {
    "brats2021": {"modality": _BRATS_CHANNELS, "labels": _BRATS_LABELS | {"4": "enhancing tumour"}},
    "brats2023": {"modality": _BRATS_CHANNELS, "labels": _BRATS_LABELS | {"3": "enhancing tumour"}},
    "msd": {
        "modality": {"0": "FLAIR", "1": "T1w", "2": "T1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "oedema", "2": "non-enhancing core", "3": "enhancing tumour"},
    },
}


class Cohort:
    """The cases of a data set: found, checked and split by patient when first asked for, each case checked once.

    Args:
        dataset_dir: folder of the cases, of any layout; not looked at where a data list is given.
        datalist: MONAI data list (JSON) that replaces discovery and seeded split; its `validation` is held out.
        labels: whether each case must have a label; if not, labels are ignored and MSD's `imagesTs` is looked into.
        skip_invalid: leaves broken cases out, with a warning each, instead of raising.
        held_out_fraction: share of the patients that is held out.
        seed: of the split.
        cache_dir: folder that remembers which cases are sound.

    Attributes:
        problems: the fault of each case that was checked and left out, by case id.

    Raises:
        BundleError: when cases are asked for and one is broken, or with `skip_invalid` when no sound one is left.
    """

    def __init__(
        self,
        dataset_dir: str,
        *,
        datalist: str | None = None,
        labels: bool = True,
        skip_invalid: bool = False,
        held_out_fraction: float = 0.2,
        seed: int = 0,
        cache_dir: str | None = None,
    ) -> None:
        self.datalist = datalist
        self.skip_invalid = skip_invalid
        self.cache_file = None if cache_dir is None else os.path.join(cache_dir, "sound_cases.json")
        self.problems: dict[str, str] = {}
        self._incomplete: dict[str, str] = {}
        self._find = partial(find_cases, dataset_dir, labels=labels)
        self._split = partial(split_by_patient, held_out_fraction=held_out_fraction, seed=seed)
        self._read = partial(read_datalist, labels=labels)

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
        """Returns the sound cases of `all`, `held_out` or a data list's `validation`, and checks no others.

        Args:
            split: one of these two words or the path of a data list (.json).
        """
        if split == "all":
            return self.all
        if split == "held_out":
            return self._check(self._sides[1])
        if split.endswith(".json"):
            return self._check(self._read(split)[1])
        raise BundleError(f"split {split}: allowed are all, held_out and the path of a data list (.json)")

    def raise_if_problems(self) -> None:
        """Raises a `BundleError` that lists every case left out: for the end of a run that went on without them."""
        if self.problems:
            raise BundleError(f"cases left out: {len(self.problems)}{_listed(self.problems)}")

    @cached_property
    def _found(self) -> list[Item]:
        if self.datalist is not None:
            return [item for side in self._sides for item in side]
        items, self._incomplete = self._find()
        return items

    @cached_property
    def _sides(self) -> tuple[list[Item], list[Item]]:
        # Broken cases are split too, so that a bad file does not change who is held out.
        return self._split(self._found) if self.datalist is None else self._read(self.datalist)

    def _side(self, index: int, name: str) -> list[Item]:
        sound = {item["case"] for item in self.all}
        if side := [item for item in self._sides[index] if item["case"] in sound]:
            return side
        raise BundleError(f"none of the {len(self._sides[index])} cases {name} can be used{_listed(self.problems, 5)}")

    def _check(self, items: list[Item]) -> list[Item]:
        faults = {item["case"]: self._incomplete[item["case"]] for item in items if item["case"] in self._incomplete}
        faults |= check_cases([item for item in items if item["case"] not in faults], cache_file=self.cache_file)
        sound = [item for item in items if item["case"] not in faults]
        if not sound or (faults and not self.skip_invalid):
            remedy = "correct them, or go on without by `--skip_invalid true`" if sound else "none is left"
            raise BundleError(f"{len(faults)} of {len(items)} cases cannot be used: {remedy}{_listed(faults, 5)}")
        for case, fault in faults.items():
            logger.warning("left out case %s: %s", case, fault)
        self.problems |= faults
        return sound


def find_cases(dataset_dir: str, *, labels: bool = True) -> tuple[list[Item], dict[str, str]]:
    """Finds the cases of every layout in a folder, in its sub-folders, or in a folder that is a case itself.

    A case's id is what its files are called before the modality (`<case>_t1.nii.gz`), or the folder's name where they
    are just `t1.nii.gz` or folders of DICOM files `t1/`. Hidden files are skipped.

    Returns:
        Items of all cases, sorted by id, and the fault, by id, of those that lack a file or have one twice. These are
        among the items for the split's sake and are not to be used.

    Raises:
        BundleError: where the folder does not exist, cannot be read or holds no case.
    """
    if not os.path.isdir(dataset_dir):
        raise BundleError(f"dataset_dir {dataset_dir}: no such folder; give the folder that holds the cases")
    cases: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for case, kind, path in _find_volumes(os.path.abspath(dataset_dir), labels=labels):
        cases[case][kind].append(path)
    if not cases:
        raise BundleError(
            f"dataset_dir {dataset_dir}: no case found; looked for <case>_{{t1,t1ce,t2,flair}}.nii.gz, "
            "<case>-{t1n,t1c,t2w,t2f}.nii.gz (or .nii, .nrrd, .mha), MSD's imagesTr/ and DICOM folders <case>/t1/ ..."
        )
    items = [_to_item(case, cases[case]) for case in sorted(cases)]
    faults = {item["case"]: _find_fault(item["layout"], cases[item["case"]], labels=labels) for item in items}
    return items, {case: fault for case, fault in faults.items() if fault}


def patient_of(case: str) -> str:
    """Returns a case's patient: its id without the time point that BraTS 2017-2019 and 2023 and later append."""
    match = _PATIENT.match(case)
    return match[0] if match else case


def split_by_patient(
    items: Sequence[Item], *, held_out_fraction: float = 0.2, seed: int = 0
) -> tuple[list[Item], list[Item]]:
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
    sides: tuple[list[Item], list[Item]] = ([], [])
    for item in sorted(items, key=lambda item: item["case"]):
        sides[item["patient"] in held_out].append(item)
    return sides


def write_datalist(path: str, training: Sequence[Item], validation: Sequence[Item]) -> None:
    """Writes a data list in the format of MONAI and the Medical Segmentation Decathlon, paths relative to its folder.

    Raises:
        BundleError: where the file cannot be written.
    """
    layout = [*training, *validation][0]["layout"]
    content = {
        "name": "BraTS",
        "description": f"Brain tumours in MRI, split by patient; modality and labels as of the layout {layout}",
        **_MEANINGS[layout],
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


def read_datalist(path: str, *, labels: bool = True) -> tuple[list[Item], list[Item]]:
    """Reads the sections `training` and `validation` of a data list written here or elsewhere.

    What an entry lacks of `case`, `patient` and `layout` is told by its file names, and four images whose names tell
    the modality are put in the order T1, T1ce, T2, FLAIR. Without `labels`, labels are ignored.

    Raises:
        BundleError: where the file or a section is missing or malformed, or a patient is in both sections.
    """
    try:
        sections = [load_decathlon_datalist(os.path.abspath(path), True, key) for key in ("training", "validation")]
        if not sections[1]:
            raise ValueError("its section validation is empty")
        training, held_out = ([_from_entry(entry, labels=labels) for entry in section] for section in sections)
    except (OSError, TypeError, ValueError) as error:
        remedy = f"`python -m scripts.datalist DATASET_DIR --output {path}` writes one"
        raise BundleError(f"data list {path}: {error}; {remedy}") from error
    if shared := {item["patient"] for item in training} & {item["patient"] for item in held_out}:
        raise BundleError(f"data list {path}: patient {min(shared)} is on both sides of the split; keep it on one")
    if twice := [case for case, count in Counter(item["case"] for item in training + held_out).items() if count > 1]:
        raise BundleError(f"data list {path}: case {twice[0]} is listed twice; remove one, or give each a `case`")
    return training, held_out


def main() -> None:
    """Command line: checks and splits a data set and writes its data list."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.datalist", description="Checks and splits BraTS cases.")
    parser.add_argument("dataset_dir", help="folder of the cases, of any BraTS layout")
    parser.add_argument("--output", required=True, help="data list (JSON) to write")
    parser.add_argument("--held_out_fraction", type=float, default=0.2, help="share of patients held out (0.2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split (0)")
    parser.add_argument("--skip_invalid", nargs="?", const="true", choices=("true", "false"), help="go on without them")
    options = vars(parser.parse_args())
    output, skip_invalid = options.pop("output"), options.pop("skip_invalid") == "true"
    cohort = Cohort(**options, skip_invalid=skip_invalid)
    write_datalist(output, cohort.training, cohort.held_out)
    layouts = Counter(item["layout"] for item in cohort.all)
    counts = ", ".join(f"{layout} {layouts[layout]}" for layout in sorted(layouts))
    print(f"{len(cohort.all)} cases of {len({item['patient'] for item in cohort.all})} patients: {counts}")
    print(f"training {len(cohort.training)}, held out {len(cohort.held_out)}, left out {len(cohort.problems)}")
    print(f"written to {output}")


def _find_volumes(root: str, *, labels: bool) -> Iterator[tuple[str, str, str]]:
    """Yields case, kind (a modality's word, `seg` or `4d`) and path of each volume."""
    msd = {"imagesTr": "4d", "labelsTr": "seg"} | ({} if labels else {"imagesTs": "4d"})
    for folder, folders, files in os.walk(root, followlinks=True, onerror=_refuse_folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        names = [name for name in files if _SUFFIX.search(name) and not name.startswith(".")]
        names += [name for name in folders if name.lower() in _WORDS and _holds_dicom(os.path.join(folder, name))]
        for path in [os.path.join(folder, name) for name in names]:
            case, kind = _parse(path)
            kind = msd.get(os.path.basename(folder), kind)
            if kind and (labels or kind != "seg"):
                yield case, kind, path


def _refuse_folder(error: OSError) -> None:
    raise BundleError(f"{error.filename}: cannot be read ({error.strerror}); grant access or move it away") from error


def _holds_dicom(folder: str) -> bool:
    names = [name for name in os.listdir(folder) if not name.startswith(".")]
    return bool(names) and not any(_SUFFIX.search(name) for name in names)


def _listed(faults: dict[str, str], limit: int | None = None) -> str:
    lines = [f"\n  {case}: {fault}" for case, fault in faults.items()]
    return "".join(lines[:limit]) + (f"\n  and {len(lines) - limit} more" if limit and len(lines) > limit else "")


def _parse(path: str) -> tuple[str, str]:
    """Returns the case and the kind (a modality's word, `seg` or nothing) that a path tells."""
    name, folder = os.path.basename(path), os.path.basename(os.path.dirname(path))
    if match := _VOLUME.fullmatch(name):
        return match["case"] or folder, match["kind"].lower()
    return (folder, name.lower()) if name.lower() in _WORDS else (_SUFFIX.sub("", name), "")


def _layout_of(kinds: Iterable[str]) -> str:
    return "msd" if "4d" in kinds else "brats2023" if set(kinds) & set(MODALITIES["brats2023"]) else "brats2021"


def _to_item(case: str, volumes: dict[str, list[str]]) -> Item:
    layout = _layout_of(volumes)
    images = [volumes[kind][0] for kind in MODALITIES.get(layout, ["4d"]) if kind in volumes]
    image = images[0] if layout == "msd" else images
    item = {"case": case, "patient": patient_of(case), "layout": layout, "image": image}
    return item | ({"label": volumes["seg"][0]} if "seg" in volumes else {})


def _find_fault(layout: str, volumes: dict[str, list[str]], *, labels: bool) -> str | None:
    for paths in volumes.values():
        if len(paths) > 1:
            return f"{paths[0]}: is there twice, also as {paths[1]}; remove or rename one"
    needed = [*MODALITIES.get(layout, ["4d"]), *(["seg"] if labels else [])]
    if missing := [kind for kind in needed if kind not in volumes]:
        folder = os.path.dirname(next(iter(volumes.values()))[0])
        return f"{folder}: has no {' and no '.join(missing)} file; add what is missing"
    return None


def _from_entry(entry: Item, *, labels: bool) -> Item:
    image = entry.get("image")
    if not isinstance(image, str) and not (isinstance(image, list) and [type(path) for path in image] == [str] * 4):
        raise ValueError(f"image is {image}, allowed are four paths or the path of one 4D file")
    if labels and not isinstance(entry.get("label"), str):
        raise ValueError(f"{image} has no label")
    # MONAI turns any string that names an existing path into that path, and a case often does.
    told = {key: os.path.basename(entry[key]) for key in ("case", "patient", "layout") if key in entry}
    if told.get("layout", "msd") not in _MEANINGS:
        raise ValueError(f"layout {told['layout']} is unknown, allowed are {', '.join(_MEANINGS)}")
    volumes = {"4d": [image]} if isinstance(image, str) else {_parse(path)[1]: [path] for path in image}
    item = _to_item(told.get("case", _parse(ensure_tuple(image)[0])[0]), volumes)
    if isinstance(image, list) and len(item["image"]) < 4:  # names that tell no modality: the list's order holds
        item["image"] = image
    return item | told | ({"label": entry["label"]} if labels else {})


def _relative_to(path: str, item: Item) -> Item:
    relative = partial(os.path.relpath, start=os.path.dirname(os.path.abspath(path)))
    image = item["image"]
    files = {"image": relative(image) if isinstance(image, str) else [relative(file) for file in image]}
    return item | files | ({"label": relative(item["label"])} if "label" in item else {})


if __name__ == "__main__":
    main()
