# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.data.transforms import LoadScansd
from scripts.tools.label_to_dicom import convert
from tests.dicom_builder import OBLIQUE, Grid, save_case

pytest.importorskip("highdicom", reason="highdicom is not installed: requirements-dicom.txt")
pydicom = pytest.importorskip("pydicom")


def test_a_reviewed_label_becomes_a_segmentation_of_its_reviewer(tmp_path: Path) -> None:
    scans = np.zeros((4, 5, 6, 8), int)
    scans[:, 1:-1, 1:-1, 1:-1] = np.random.default_rng(0).integers(1, 99, (4, 3, 4, 6))  # background around the brain
    series = save_case(tmp_path / "case1", scans, Grid(OBLIQUE))
    scan = LoadScansd("image")({"image": series})["image"]
    labels = np.zeros(scan.shape[1:], np.uint8)
    labels[2:4, 2:5, 1:3] = 4
    label = tmp_path / "case1" / "review" / "case1_v002.nii.gz"
    label.parent.mkdir()
    nib.save(nib.Nifti1Image(labels, np.asarray(scan.affine)), label)
    place = convert(str(label), str(tmp_path / "case1"), reviewer="Dr. A")
    assert place == label.with_name("case1_v002.dcm")
    segmentation = pydicom.dcmread(place)
    assert segmentation.pixel_array.sum() == (labels == 4).sum()
    assert str(segmentation.ContentCreatorName) == "Dr. A^"
    with pytest.raises(BundleError, match="cannot be read"):
        convert(str(place), str(tmp_path / "case1"))
