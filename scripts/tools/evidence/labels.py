# SPDX-License-Identifier: Apache-2.0
"""Cells of the second experiment: few labelled patients, and VAT on the others, whose labels are not used."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from scripts.base.errors import BundleError
from scripts.brats import MODALITIES, Item
from scripts.data.datalist import write_datalist
from scripts.tools.evidence.arms import ALONE, NO_CRITIC, NO_VAT, WITH_VAT
from scripts.tools.evidence.cells import Cell, folder_name, split_into_folds

WITH_THE_OTHERS = f"{WITH_VAT} on the others as well"
ARMS = (ALONE, WITH_VAT, WITH_THE_OTHERS)


def make_label_cells(cases: Sequence[Item], *, output_dir: Path, labelled: int, seeds: int, folds: int) -> list[Cell]:
    """Writes data lists and folders of unlabelled cases, and returns the cells, all arms of a seed next to each other.

    The first fold's validation is that of all cells. A seed draws the labelled patients among its training patients;
    fewer are among more. Every cell has as many steps as a training with all of them.

    Args:
        cases: labelled cases, each of four files.
        output_dir: of the experiment.
        labelled: number of patients whose labels are used.
        seeds: number of seeds.
        folds: number of folds, of which the first is used.

    Raises:
        BundleError: if no patient would be left without labels, or a case is not of four files.
    """
    training, validation = split_into_folds(cases, folds)[0]
    patients = sorted({item["patient"] for item in training})
    if not 2 <= labelled < len(patients):
        raise BundleError(f"--labelled {labelled}: allowed are 2 to {len(patients) - 1}, one fewer than are trained on")
    cells = []
    for seed in range(seeds):
        place = output_dir / f"labelled{labelled}_seed{seed}"
        chosen = random.Random(seed).sample(patients, len(patients))[:labelled]
        known = [item for item in training if item["patient"] in chosen]
        unlabelled = place / "unlabelled"
        _link([item for item in training if item["patient"] not in chosen], unlabelled)
        write_datalist(str(place / "cases.json"), known, validation)
        settings = {
            ALONE: NO_VAT | NO_CRITIC,
            WITH_VAT: NO_CRITIC,
            WITH_THE_OTHERS: NO_CRITIC | {"unlabelled_dir": str(unlabelled)},
        }
        cells += [
            Cell(
                arm,
                settings[arm],
                seed,
                fold=0,
                folder=place / folder_name(arm),
                datalist=place / "cases.json",
                training_cases=len(known),
                steps_as_with=len(training),
            )
            for arm in ARMS
        ]
    return cells


def _link(items: Sequence[Item], folder: Path) -> None:
    """Makes a folder of each case with links to its scans, and none to its label."""
    for item in items:
        if len(item["image"]) != len(MODALITIES):
            raise BundleError(f"case {item['case']}: is not of four files; give cases of four, as BraTS has them")
        place = folder / item["case"]
        place.mkdir(parents=True, exist_ok=True)
        for scan in item["image"]:
            link = place / Path(scan).name
            if not link.is_symlink():
                link.symlink_to(Path(scan).resolve())
