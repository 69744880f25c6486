# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from scripts.brats import Item
from scripts.data.phantoms import make_cohort
from scripts.tools.resolution import best_dice
from tests.commands import run


def make_item(folder: Path) -> Item:
    """A large oedema, a core of one voxel, and no enhancing tumour."""
    label = np.zeros((24, 24, 24), np.uint8)
    label[4:20, 4:20, 4:20] = 2
    label[9, 9, 9] = 1
    path = folder / "label.nii.gz"
    nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), path)
    return {"case": "a", "patient": "a", "layout": "brats2021", "image": [], "label": str(path)}


def test_a_structure_finer_than_the_working_resolution_is_lost_and_what_is_not_there_has_no_dice(
    tmp_path: Path,
) -> None:
    own, coarse = best_dice(make_item(tmp_path), [1.0, 2.0])
    assert own[:2] == pytest.approx(1)
    assert coarse[0] == 0
    assert 0.9 < coarse[1] < 1
    assert np.isnan([own[2], coarse[2]]).all()


def test_the_command_prints_a_row_for_each_resolution(tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "phantoms", cases=3, shape=(32, 32, 32))
    datalist = str(tmp_path / "list.json")
    assert run("scripts.data.split", cohort, "--output", datalist).returncode == 0
    command = ["scripts.tools.resolution", datalist, "--cache_dir", str(tmp_path / "cache"), "--spacings"]
    result = run(*command, "1", "10")
    assert result.returncode == 0, result.stderr
    assert "3 cases" in result.stdout
    rows = [line.split("|")[1:-1] for line in result.stdout.splitlines() if line[:4] in ("| 1 ", "| 10")]
    fine, coarse = np.array(rows, float)
    assert (fine == (1, 1, 1, 1)).all()
    assert (coarse[1:] < 1).all()
    refused = run(*command, "0")
    assert refused.returncode != 0
    assert "--spacings: 0.0 mm; allowed: 0.1 to 10 mm." in refused.stderr
