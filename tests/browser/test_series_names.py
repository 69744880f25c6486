# SPDX-License-Identifier: Apache-2.0
"""What names of series tell; their conversion is in test_page.py."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.served import call

DESCRIPTIONS = {
    "T1": [
        "AX T1",
        "t1_mprage_sag_p2_iso",
        "3D MPRAGE",
        "T1 FLAIR AX",
        "SAG T1 PRE CONTRAST",
        "t1_nativ",
        "T1 without gd",
    ],
    "T1ce": [
        "AX T1 POST",
        "T1 +C",
        "t1_mprage_KM",
        "T1ce",
        "AX T1 GAD",
        "T1W post-contrast",
        "t1c",
        "MPRAGE with contrast",
    ],
    "T2": ["AX T2 FSE", "t2_tse_tra", "T2w"],
    "FLAIR": ["AX FLAIR", "t2_flair_3d", "T2 FLAIR POST", "t2_space_dark-fluid", "t2_tirm_tra"],
    "": ["", "scan 1", "DWI b1000", "ADC", "T2* GRE", "T1 map", "localizer T1", "T1 subtraction", "perfusion", "SWI"],
}


@pytest.mark.parametrize("modality", DESCRIPTIONS)
def test_descriptions_tell_the_modality(steps: Any, modality: str) -> None:
    told = {words: call(steps, "steps/series_names.js", "modalityOf", words) for words in DESCRIPTIONS[modality]}
    assert told == dict.fromkeys(DESCRIPTIONS[modality], modality)


def found(steps: Any, *series: tuple[str, str]) -> Any:
    given = [{"path": path, "number": 1, "description": words, "bytes": [], "fault": ""} for path, words in series]
    return call(steps, "steps/file_names.js", "findCase", call(steps, "steps/series_names.js", "entriesOf", given))


def test_folders_of_the_commands_tell_more_than_descriptions(steps: Any) -> None:
    named = [(f"study/p1/{name}/1.dcm", "T2") for name in ("t1", "t1ce", "t2", "flair")]
    case = found(steps, *named, ("study/p1/other/1.dcm", "AX T2"))
    assert (case["id"], case["problem"]) == ("p1", "")
    assert case["slots"]["FLAIR"]["path"] == "study/p1/flair/1 T2.nii"


def test_a_series_that_cannot_be_told_from_another_is_left_to_the_user(steps: Any) -> None:
    case = found(
        steps, ("p1/a/1", "T1"), ("p1/b/1", "T1 POST"), ("p1/c/1", "T2"), ("p1/d/1", "FLAIR"), ("p1/e/1", "T2")
    )
    assert case["id"] == "p1"
    assert case["problem"] == "T2 may be p1/c/1 T2.nii or p1/e/1 T2.nii; choose it in the list"
    assert case["slots"]["T2"] is None
    assert case["slots"]["T1ce"]["path"] == "p1/b/1 T1 POST.nii"
    flat = found(steps, ("a", "T1"), ("b", "T1/POST"), ("c", "T2"))
    assert (flat["id"], flat["slots"]["T1ce"]["path"]) == ("case", "1 T1-POST.nii")
    assert flat["problem"].startswith("has no FLAIR file (found 1 T1-POST.nii, 1 T1.nii, 1 T2.nii); choose it")
