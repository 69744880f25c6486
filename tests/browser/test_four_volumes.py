# SPDX-License-Identifier: Apache-2.0
"""Files that hold all four modalities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scripts.brats import MODALITIES
from tests.browser.served import RefusedError, as_file, call, volume

# the order of the Medical Segmentation Decathlon, and how its dataset.json writes another one
MSD, OTHER = ("FLAIR", "T1", "T1ce", "T2"), {"0": "T2w", "1": "t1gd", "3": "FLAIR", "2": "T1w"}


@pytest.fixture
def save(tmp_path: Path) -> Any:
    def save(name: str, *shape: int, text: str = "") -> dict[str, Any]:
        if text:
            (tmp_path / name).write_text(text)
            return {"path": f"task/{name}", "file": as_file(tmp_path / name)}
        voxels = np.random.default_rng(0).integers(0, 99, shape).astype(np.int16)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), tmp_path / name)
        return {"path": f"imagesTr/{name}", "file": as_file(tmp_path / name)}

    return save


def modalities(steps: Any, *entries: dict[str, Any]) -> dict[str, str]:
    """Returns the modality that each file, or volume in it, is taken for."""
    found = call(steps, "steps/four_volumes.js", "splitFiles", entries)
    return {entry["path"]: entry["told"]["kind"] if "told" in entry else "" for entry in found}


@pytest.mark.parametrize("name", ["BRATS_001.nii.gz", "BRATS_001.nii"])
def test_volumes_are_in_the_order_of_the_decathlon_or_of_dataset_json(steps: Any, save: Any, name: str) -> None:
    four, label = save(name, 4, 5, 6, 4), save("BRATS_001_seg.nii", 4, 5, 6)
    named = {f"imagesTr/{name}, volume {number}": modality for number, modality in enumerate(MSD, start=1)}
    assert modalities(steps, four, label) == {**named, label["path"]: ""}
    described = save("dataset.json", text=json.dumps({"modality": OTHER}))
    assert [*modalities(steps, four, described).values()][:4] == ["T2", "T1ce", "T1", "FLAIR"]
    assert [*modalities(steps, four, save("dataset.json", text="{}")).values()][:4] == [*MSD]


def test_files_that_are_not_four_modalities_are_left_or_refused(steps: Any, save: Any) -> None:
    left = [save("p_t1.nii", 4, 5, 6, 4), save("scan.nii.gz", 4, 5, 6), save("odd.nii", 4, 5, 6, 1)]
    assert modalities(steps, *left) == dict.fromkeys([entry["path"] for entry in left], "")
    words = (
        rf"imagesTr/p\.nii: shape \(4, 5, 6, 3\); an image in one file must be 4D with 4 modalities, {MODALITIES[0]}"
    )
    with pytest.raises(RefusedError, match=words):
        modalities(steps, save("p.nii", 4, 5, 6, 3))
    four = save("four.nii", 4, 5, 6, 4)
    with pytest.raises(
        RefusedError, match=r"task/dataset\.json: its channels are CT; T1, T1ce, T2, FLAIR must be there"
    ):
        modalities(steps, four, save("dataset.json", text='{"channel_names": {"0": "CT"}}'))
    with pytest.raises(RefusedError, match=r"task/dataset\.json: cannot be read as JSON"):
        modalities(steps, four, save("dataset.json", text="{"))


@pytest.mark.parametrize("name", ["four.nii", "four.nii.gz"])
def test_one_volume_is_read_and_named(steps: Any, save: Any, tmp_path: Path, name: str) -> None:
    file = save(name, 4, 5, 6, 4)["file"]
    voxels = nib.Nifti1Image.from_filename(tmp_path / name).get_fdata()
    for index in range(4):
        read = call(steps, "steps/nifti_file.js", "readVolume", file, index)
        assert (read["name"], read["shape"]) == (f"{name}, volume {index + 1}", [4, 5, 6])
        np.testing.assert_array_equal(read["voxels"], volume(voxels[..., index]))
