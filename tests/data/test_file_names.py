# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.data.discovery import find_cases
from scripts.data.file_names import parse_name
from tests.data.test_discovery import cases_of, faults_of, touch

# what data sets call T1, T1ce, T2, FLAIR and the label map
CONVENTIONS: dict[str, tuple[str, Sequence[str]]] = {
    "BraTS to 2021": ("BraTS2021_00001_", ("t1", "t1ce", "t2", "flair", "seg")),
    "BraTS from 2023": ("BraTS-GLI-00001-000-", ("t1n", "t1c", "t2w", "t2f", "seg")),
    "UCSF-PDGM": ("UCSF-PDGM-0004_", ("T1", "T1c", "T2", "FLAIR", "tumor_segmentation")),
    "UPENN-GBM": ("UPENN-GBM-00001_11_", ("T1", "T1GD", "T2", "FLAIR", "segm")),
    "TCGA": ("TCGA-02-0003_1997.06.08_", ("t1", "t1Gd", "t2", "flair", "GlistrBoost_ManuallyCorrected")),
    "BIDS": ("sub-01_", ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR", "dseg")),
    "BIDS with sessions": (
        "sub-01_ses-02_",
        ("space-SRI_T1w", "ce-GAD_space-SRI_T1w", "space-SRI_T2w", "space-SRI_FLAIR", "space-SRI_dseg"),
    ),
    "LUMIERE": ("Patient-001_week-000-1_", ("T1", "CT1", "T2", "FLAIR", "seg")),
    "others": ("P01_", ("t1_pre", "t1post", "T2", "T2_FLAIR", "seg")),
}
DERIVED = (
    "T1_bias",
    "T1c_bias",
    "FLAIR_bias",
    "ADC",
    "SWI",
    "brain_segmentation",
    "brain_mask",
    "t1_brain_mask",
    "ASL",
)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_a_convention_is_understood_and_derived_files_are_left_alone(tmp_path: Path, name: str) -> None:
    before, words = CONVENTIONS[name]
    case = before[:-1]
    paths = touch(tmp_path / "folder", [f"{before}{word}.nii.gz" for word in words])
    touch(tmp_path / "folder", [f"{before}{word}.nii.gz" for word in DERIVED])
    (item,) = find_cases(str(tmp_path))
    assert faults_of([item]) == {}
    assert (item["case"], item["image"], item["label"]) == (case, paths[:4], paths[4])
    assert item["layout"] == ("brats2023" if name == "BraTS from 2023" else "brats2021")


def test_a_time_point_called_t2_is_no_modality(tmp_path: Path) -> None:
    for case in ("p_t1", "p_t2"):
        touch(tmp_path, [f"{case}_{name}.nii" for name in ("t1", "t1ce", "t2", "flair", "seg")])
    items = find_cases(str(tmp_path))
    assert cases_of(items) == ["p_t1", "p_t2"]
    assert faults_of(items) == {}


def test_labels_of_bids_lie_among_the_derivatives(tmp_path: Path) -> None:
    for subject in ("sub-01", "sub-02"):
        names = ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR")
        touch(tmp_path / subject / "anat", [f"{subject}_{name}.nii.gz" for name in names])
        touch(tmp_path / "derivatives" / subject / "anat", [f"{subject}_dseg.nii.gz"])
    items = find_cases(str(tmp_path))
    assert faults_of(items) == {}
    assert [item["label"] for item in items] == [
        str(tmp_path / "derivatives" / subject / "anat" / f"{subject}_dseg.nii.gz") for subject in ("sub-01", "sub-02")
    ]


def test_the_names_that_were_found_are_told_beside_those_understood(tmp_path: Path) -> None:
    touch(tmp_path / "p", [f"p_{name}.nii.gz" for name in ("t1", "KM", "t2", "flair", "seg")])
    fault = faults_of(find_cases(str(tmp_path)))["p"]
    assert "has no T1ce file" in fault
    assert "p_KM.nii.gz" in fault
    assert "T1ce as t1ce, t1c, t1gd" in fault


@pytest.mark.parametrize("suffix", [".nii.gz", ".NII.GZ", ".nrrd", ".seg.nrrd"])
def test_a_label_map_of_slicer_is_one(suffix: str) -> None:
    assert parse_name(f"case_01_seg{suffix}")[:2] == ("case_01", "seg")
    assert parse_name(f"case_01{suffix}")[:2] == ("case_01", "seg" if suffix == ".seg.nrrd" else "")


def test_folders_of_modalities_and_folders_named_as_files(tmp_path: Path) -> None:
    for name in ("t1", "t1ce", "t2", "flair", "seg"):
        touch(tmp_path / "one" / name, ["case_01.nii.gz", "case_02.nii.gz"])
        touch(tmp_path / "two" / f"BraTS2021_00001_{name}.nii", [f"00000057_brain_{name}.nii"])
    items = find_cases(str(tmp_path))
    assert cases_of(items) == ["BraTS2021_00001", "case_01", "case_02"]
    assert faults_of(items) == {}


def test_files_without_a_name_of_their_own_are_identified_by_their_path(tmp_path: Path) -> None:
    names = [f"{name}.nii.gz" for name in ("t1", "t1ce", "t2", "flair", "seg")]
    for patient in ("patient1", "patient2"):
        for session in ("ses-1", "ses-2"):
            touch(tmp_path / patient / session, names)
    items = find_cases(str(tmp_path))
    assert faults_of(items) == {}
    assert [(item["case"], item["patient"]) for item in items] == [
        (f"{patient}_{session}", patient) for patient in ("patient1", "patient2") for session in ("ses-1", "ses-2")
    ]


@pytest.mark.parametrize("named", [True, False])
def test_two_patients_are_never_made_into_one_case(tmp_path: Path, named: bool) -> None:
    before = "ses-1_" if named else ""
    touch(tmp_path / "patient1" / "ses-1", [f"{before}{name}.nii.gz" for name in ("t1", "t1ce")])
    touch(tmp_path / "patient2" / "ses-1", [f"{before}{name}.nii.gz" for name in ("t2", "flair", "seg")])
    items = find_cases(str(tmp_path))
    assert list(faults_of(items)) == cases_of(items) == ["patient1_ses-1", "patient2_ses-1"]
    touch(tmp_path / "patient1" / "ses-1", [f"{before}{name}.nii.gz" for name in ("t2", "flair", "seg")])
    touch(tmp_path / "patient2" / "ses-1", [f"{before}{name}.nii.gz" for name in ("t1", "t1ce")])
    items = find_cases(str(tmp_path))
    assert faults_of(items) == {}
    assert [item["patient"] for item in items] == ["patient1", "patient2"]
    assert all("patient1" in path for path in (*items[0]["image"], items[0]["label"]))


def test_a_stray_label_map_beside_one_case_is_its_own(tmp_path: Path) -> None:
    touch(tmp_path / "c", [f"c_{name}.nii" for name in ("t1", "t1ce", "t2", "flair")] + ["W39_1998.09.19_Segm.nii"])
    (item,) = find_cases(str(tmp_path))
    assert item["label"] == str(tmp_path / "c" / "W39_1998.09.19_Segm.nii")
    assert faults_of([item]) == {}


@pytest.mark.parametrize(("name", "expected"), [("data.zip", "zip archive; unpack it"), ("data.txt", "is a file")])
def test_what_is_no_folder_is_told(tmp_path: Path, name: str, expected: str) -> None:
    path = tmp_path / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "b")
    else:
        path.write_text("x")
    with pytest.raises(BundleError, match=expected):
        find_cases(str(path))
