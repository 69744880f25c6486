# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.base.results import write_result
from scripts.data.file_names import LABEL
from scripts.data.folder_search import ONE_FILE, Volume, find_volumes, to_volume
from tests.data.test_discovery import touch


def found(folder: Path) -> list[tuple[str, str, str]]:
    return [(volume.case, volume.kind, Path(volume.path).name) for volume in find_volumes(str(folder))]


def test_the_path_of_a_file_tells_what_it_is_of() -> None:
    assert to_volume("/data/p1/p1_t1ce.nii.gz") == Volume("/data/p1", "p1", "T1ce", "t1ce", "/data/p1/p1_t1ce.nii.gz")
    assert to_volume("/data/notes.nii").kind == ""


@pytest.mark.parametrize(
    ("path", "case", "kind"),
    [
        ("p1/p1_flair.nii", "p1", "FLAIR"),
        ("p1/seg.nrrd", "", LABEL),
        ("t1/p1.nii.gz", "p1", "T1"),  # a folder of a modality
        ("p1/t2/001.dcm", "", "T2"),  # a series
        ("p1/p1_t1.nii/0057_brain_t1.nii", "p1", "T1"),  # a folder that is named as the file in it
        ("imagesTr/BRATS_001.nii.gz", "BRATS_001", ONE_FILE),
        ("imagesTr/BRATS_001_0000.nii.gz", "BRATS_001_0000", ONE_FILE),  # a name, for there is no _0001
    ],
)
def test_a_volume_is_found_wherever_it_lies(tmp_path: Path, path: str, case: str, kind: str) -> None:
    touch((tmp_path / path).parent, [Path(path).name])
    ((at, of, _),) = found(tmp_path)
    assert (at, of) == (case, kind)


def test_what_is_hidden_or_was_written_by_this_bundle_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path / ".hidden", ["a_t1.nii"])
    touch(tmp_path / "__MACOSX", ["a_t1.nii"])
    touch(tmp_path, ["._a_t1.nii", "a_t1.nii"])
    write_result(tmp_path / "a_seg.nii.gz", b"ours")
    assert found(tmp_path) == [("a", "T1", "a_t1.nii")]
