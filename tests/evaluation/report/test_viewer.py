# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import base64
import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.evaluation.report.viewer import choose_cases, pack_case
from scripts.evaluation.report.volumes import load_volumes
from tests.outputs import make_outputs
from tests.tolerances import FLOAT32

NAN = float("nan")


def dice(*means: float) -> np.ndarray:
    return np.array([[mean, mean, mean] for mean in means])


@pytest.mark.parametrize(
    ("means", "count", "expected"),
    [
        ([0.5, 0.9, 0.1, 0.7, 0.3], 3, [(2, "worst"), (0, "median"), (1, "best")]),
        ([0.5, NAN, 0.1, 0.7], 3, [(2, "worst"), (0, "median"), (3, "best")]),
        ([0.5, 0.1], 3, [(1, "worst"), (0, "best")]),
        ([0.5], 3, [(0, "only case")]),
        ([NAN, NAN, NAN], 2, [(0, "without truth"), (1, "without truth")]),
        ([0.4, 0.3, 0.2, 0.1, 0.0], 2, [(4, "worst"), (0, "best")]),
        ([0.4, 0.3, 0.2, 0.1], 4, [(3, "worst"), (2, "rank 2 of 4"), (1, "rank 3 of 4"), (0, "best")]),
        ([0.4, 0.3], 1, [(1, "worst")]),
        ([0.4, 0.3], 0, []),
    ],
)
def test_cases_are_chosen_by_rank(means: list[float], count: int, expected: list[tuple[int, str]]) -> None:
    assert choose_cases(dice(*means), count) == expected


def test_a_region_without_dice_does_not_take_its_case_out() -> None:
    assert choose_cases(np.array([[0.5, 0.5, NAN], [0.2, 0.2, 0.2]]), 2) == [(1, "worst"), (0, "best")]


def test_a_packed_case_holds_its_volumes_as_nifti(tmp_path: Path) -> None:
    (item,) = make_outputs(tmp_path, cases=1)
    volumes = load_volumes(item, tmp_path / "out")
    packed = pack_case(volumes, number=2, reason="worst", dice=[0.51239, NAN, 1])
    assert packed == pack_case(volumes, number=2, reason="worst", dice=[0.51239, NAN, 1])
    assert packed.settings["dice"] == {"TC": 0.5124, "WT": None, "ET": 1}
    ids = packed.settings["volumes"]
    assert ids["T1ce"] == "volume-2-T1ce"
    assert set(ids.values()) == packed.files.keys()
    assert volumes.confidence is not None
    for name, expected in {
        "FLAIR": volumes.image[3],
        "T1": volumes.image[0],
        "truth": volumes.truth,
        "confidence-WT": volumes.confidence[1],
    }.items():
        nifti = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(packed.files[ids[name]])))
        np.testing.assert_array_equal(np.asarray(nifti.dataobj), expected)
        np.testing.assert_allclose(nifti.affine, volumes.affine, rtol=FLOAT32)
        assert nifti.get_data_dtype() == np.uint8
