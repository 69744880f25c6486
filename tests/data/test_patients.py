# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.cohort import Cohort
from scripts.data.patients import patient_of, set_patients, warn_of_shared_stems
from tests.data.test_checks import make_case

PATIENTS = {
    "Brats17_2013_0_1": "Brats17_2013_0",
    "Brats18_CBICA_ABM_1": "Brats18_CBICA_ABM",
    "BraTS19_TCIA01_201_12": "BraTS19_TCIA01_201",
    "BraTS20_Training_001": "BraTS20_Training_001",
    "BraTS2021_00006": "BraTS2021_00006",
    "BraTS-GLI-00000-000": "BraTS-GLI-00000",
    "BraTS-GLI-00000-101": "BraTS-GLI-00000",
    "BraTS-MET-00002-000": "BraTS-MET-00002",
    "BRATS_001": "BRATS_001",
    "phantom_003": "phantom_003",
    "Patient-001_week-002": "Patient-001",
    "Patient-001_week-000-1": "Patient-001",
    "sub-01_ses-02": "sub-01",
    "sub-01_ses-preop": "sub-01",
    "patient1_ses-1": "patient1",
    "UPENN-GBM-00001_21": "UPENN-GBM-00001",
    "UCSF-PDGM-0429_FU003d": "UCSF-PDGM-0429",
    "100002_time1": "100002",
    "TCGA-02-0003_1997.06.08": "TCGA-02-0003",
    "P7_baseline": "P7",
    "P7_followup2": "P7",
    "week-1": "week-1",
}


def items_of(*cases: str) -> list[Item]:
    return [{"case": case, "patient": patient_of(case), "layout": "brats2021", "image": []} for case in cases]


@pytest.mark.parametrize("case", PATIENTS)
def test_the_patient_of_a_case(case: str) -> None:
    assert patient_of(case) == PATIENTS[case]


def test_a_pattern_tells_the_patient(tmp_path: Path) -> None:
    for case in ("p1a", "p1b", "p2a", "p2b"):
        make_case(tmp_path, case)
    cohort = Cohort(str(tmp_path), patient_pattern=r"^(p\d)")
    sides = [{item["case"][:2] for item in side} for side in (cohort.training_cases(), cohort.held_out_cases())]
    assert not sides[0] & sides[1]
    assert {item["patient"] for item in cohort.sound_cases()} == {"p1", "p2"}


@pytest.mark.parametrize(("pattern", "expected"), [("(", "no regular expression"), (r"x(\d)", "finds no patient in")])
def test_a_pattern_that_does_not_fit_is_refused(pattern: str, expected: str) -> None:
    with pytest.raises(BundleError, match=expected):
        set_patients(items_of("p1"), pattern)


@pytest.mark.parametrize(
    ("cases", "stem"),
    [
        (["P01_a", "P01_b", "P02_a"], "P01"),
        (["sub01-1", "sub01-2", "sub02-1"], "sub01"),
        (["BraTS2021_00001", "BraTS2021_00002", "Brats18_CBICA_ABM_1"], None),
        (["phantom_001", "phantom_002"], None),
        (["BRATS_001", "BRATS_002", "BraTS-GLI-00001-000"], None),
        (["BraTS20_Training_001", "BraTS20_Training_002"], None),
        (["UCSF-PDGM-0004", "UCSF-PDGM-0005"], None),
        (["Brats18_TCIA01_201_1", "Brats18_TCIA01_425_1", "Brats18_CBICA_ABM_1"], None),
    ],
)
def test_ids_that_could_be_of_one_patient_are_warned_of(
    cases: list[str], stem: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_shared_stems(items_of(*cases))
    if stem:
        assert f"time points of one patient, {stem}" in caplog.text
        assert "patient_pattern" in caplog.text
    else:
        assert not caplog.text
