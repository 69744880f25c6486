# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.brats import MODALITIES
from scripts.data.discovery import find_cases
from scripts.tools.paired import read_column
from scripts.tools.peers.nnunet import DATASET, read_truth, score, write_case


def test_a_case_is_linked_in_the_order_of_modalities_with_labels_without_a_gap(cohort: str, tmp_path: Path) -> None:
    item = find_cases(cohort)[0]
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    write_case(item, tmp_path)
    links = [tmp_path / "imagesTr" / f"{item['case']}_{number:04d}.nii.gz" for number in range(len(MODALITIES))]
    assert [link.resolve() for link in links] == [Path(path).resolve() for path in item["image"]]
    written, truth = (
        nib.nifti1.load(path) for path in (tmp_path / "labelsTr" / f"{item['case']}.nii.gz", item["label"])
    )
    np.testing.assert_array_equal(written.affine, truth.affine)
    expected = np.asarray(truth.dataobj)
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.where(expected == 4, 3, expected))
    with pytest.raises(BundleError, match=f"case {item['case']}: is not of four files"):
        write_case(item | {"image": item["image"][:1]}, tmp_path)


def test_predictions_are_scored_as_evaluating_scores_them(cohort: str, tmp_path: Path) -> None:
    perfect, empty = find_cases(cohort)[:2]
    folder = tmp_path / "results" / DATASET / "nnUNetTrainer__plans__3d_fullres" / "fold_0" / "validation"
    folder.mkdir(parents=True)
    for item in (perfect, empty):
        values = read_truth(item) * (item is perfect)
        values[values == 4] = 3
        affine = nib.nifti1.load(item["label"]).affine
        nib.save(nib.Nifti1Image(values, affine), folder / f"{item['case']}.nii.gz")
    score([perfect, empty], tmp_path)
    table = tmp_path / "evaluated" / "per_case.csv"
    for name, right, missed in (("dice", 1.0, 0.0), ("hd95", 0.0, 373.13)):
        for (case, _), value in read_column(table, name).items():
            assert value == pytest.approx(right if case == perfect["case"] else missed, abs=0.005)  # printed digits
