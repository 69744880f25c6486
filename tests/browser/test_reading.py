# SPDX-License-Identifier: Apache-2.0
"""The page reads what the commands read, and refuses what they refuse in the same words."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scripts.brats import MODALITIES, Item
from scripts.data.checks import check_case
from scripts.data.file_names import parse_name
from tests.browser.served import RefusedError, as_file, call, volume
from tests.data.test_file_names import CONVENTIONS, DERIVED
from tests.faults import SCANS, Fault, all_faults
from tests.label_app.test_uploads import ORIENTATIONS, TYPES, write_scan
from tests.tolerances import EXACT

# what concerns the voxels and the geometry of scans
GROUPS = {
    *("header lies about the size", "spacing", "sform and qform disagree", "values", "background that is not 0"),
    *("whole head", "misnamed files", "truncated at every 10 %", "byte flipped in gzip", "byte flipped in all headers"),
    "units",
}
# readers of libraries give reasons of their own, and NiBabel reads extensions, which the page skips
BY_LIBRARY = "cannot be read, truncated or damaged ("
READ_HERE = ("extension_huge", "extension_negative")


@pytest.mark.parametrize("value", [0, 1, -0.5, 1e-5, 0.0001234567, 123456, 1234567, 1e300, 0.1, 99999.95, float("nan")])
@pytest.mark.parametrize("digits", [3, 6])
def test_numbers_are_written_as_python_writes_them(steps: Any, value: float, digits: int) -> None:
    assert call(steps, "steps/words.js", "general", value, digits) == f"{value:.{digits}g}"


def test_names_tell_the_same_case_and_kind(steps: Any) -> None:
    names = [f"{before}{word}.nii.gz" for before, words in CONVENTIONS.values() for word in (*words, *DERIVED)]
    names += ["t1.nii", "x_T1.seg.nrrd", "p_t2_flair.nii.gz", "notes.txt", "a-t1-ce.mha", "x_t1_t1ce.nii"]
    for name in names:
        told = parse_name(name)
        assert call(steps, "steps/file_names.js", "parseName", name) == {"case": told.case, "kind": told.kind}, name


def test_one_case_is_found_among_files_and_what_is_missing_is_named(steps: Any) -> None:
    def found(*paths: str) -> Any:
        return call(steps, "steps/file_names.js", "findCase", [{"path": path} for path in paths])

    case = [f"study/p1/p1_{name}.nii.gz" for name in SCANS]
    whole = found(*case, "study/p1/p1_seg.nii.gz", "study/p1/.hidden_t1.nii.gz", "study/notes.txt")
    assert (whole["id"], whole["problem"]) == ("p1", "")
    assert [whole["slots"][modality]["path"] for modality in MODALITIES] == case
    named_by_folder = found(*(f"p2/{name}.nii" for name in SCANS))
    assert (named_by_folder["id"], named_by_folder["problem"]) == ("p2", "")
    assert "has no FLAIR file (found p1_t1.nii.gz, " in found(*case[:3])["problem"]
    with pytest.raises(RefusedError, match=r"holds 2 cases \(p1, p3 \.\.\.\)"):
        found(*case, *(path.replace("p1", "p3") for path in case))
    with pytest.raises(RefusedError, match=r"no case found \(found notes.txt\)"):
        found("notes.txt")


def scans_of(folder: Path) -> list[Path]:
    return [next(folder.glob(f"*_{kind}.nii*")) for kind in SCANS]


@pytest.mark.parametrize("step", [4, pytest.param(1, marks=pytest.mark.slow)])
def test_faulty_scans_are_refused_in_the_words_of_the_commands(steps: Any, tmp_path: Path, step: int) -> None:
    wrong = {}
    faults = [fault for fault in all_faults() if fault.group in GROUPS][::step]
    assert {fault.group for fault in faults} == GROUPS
    for fault in faults:
        fault.write(tmp_path)
        if difference := compare(steps, fault, tmp_path / fault.case):
            wrong[fault.case] = difference
    assert wrong == {}


def compare(steps: Any, fault: Fault, folder: Path) -> object:
    """Returns how the page differs from the commands, or None."""
    paths = scans_of(folder)
    item: Item = {"case": "c", "patient": "c", "layout": "brats2021", "image": [str(path) for path in paths]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = (check_case(item) or "").replace(f"{folder}/", "")
    files = [{"modality": name, "file": as_file(path)} for name, path in zip(MODALITIES, paths)]
    try:
        read = call(steps, "steps/prepare.js", "readCase", files)
    except RefusedError as error:
        found = str(error)
        same = found == expected or BY_LIBRARY in expected
        return None if same else (expected, found)
    if expected:
        return None if fault.case in READ_HERE else (expected, "read")
    with warnings.catch_warnings(), np.errstate(over="ignore"):
        warnings.simplefilter("ignore")
        images = [nib.Nifti1Image.from_filename(path) for path in paths]
        alike = [
            np.allclose(one["affine"], image.affine, rtol=EXACT, atol=EXACT)
            and np.array_equal(one["voxels"], volume(image.get_fdata()))
            for one, image in zip(read, images)
        ]
    return None if all(alike) else ("the same voxels", alike)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("version", [1, 2])
def test_voxels_of_every_type_are_read(steps: Any, tmp_path: Path, dtype: str, version: int) -> None:
    expected = write_scan(tmp_path / "scan.nii.gz", "PIL", tilt="oblique", dtype=dtype, version=version)
    read = call(steps, "steps/nifti_file.js", "readVolume", as_file(tmp_path / "scan.nii.gz"))
    image = nib.load(tmp_path / "scan.nii.gz")
    np.testing.assert_array_equal(read["voxels"], volume(expected))
    np.testing.assert_array_equal(read["affine"], image.affine)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "quaternion", [(0.5**0.5, 0.5**0.5, 0), (0.6, 0, 0.8), (0.6, 0.7999, 0), (0.1, 0.2, 0.3)], ids=str
)
def test_rotations_are_read_as_by_nibabel_up_to_half_a_turn(
    steps: Any, tmp_path: Path, quaternion: tuple[float, ...]
) -> None:
    write_scan(tmp_path / "scan.nii", "RAS", tilt="straight")
    content = bytearray((tmp_path / "scan.nii").read_bytes())
    struct.pack_into("<hh3f", content, 252, 1, 0, *quaternion)  # codes of qform and sform, and the rotation
    (tmp_path / "scan.nii").write_bytes(content)
    read = call(steps, "steps/nifti_file.js", "readVolume", as_file(tmp_path / "scan.nii"))
    expected = nib.Nifti1Image.from_filename(tmp_path / "scan.nii").affine
    np.testing.assert_allclose(read["affine"], expected, rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("odd", [{"slope": (0.5, -3.0)}, {"extension": 1016}, {"fourth_axis": True}], ids=str)
def test_scaled_extended_and_four_axes_are_read(steps: Any, tmp_path: Path, odd: dict[str, Any]) -> None:
    expected = write_scan(tmp_path / "scan.nii", **odd)
    read = call(steps, "steps/nifti_file.js", "readVolume", as_file(tmp_path / "scan.nii"))
    np.testing.assert_array_equal(read["voxels"], volume(expected))


@pytest.mark.parametrize("tilt", ["straight", "oblique"])
def test_what_is_written_has_the_geometry_of_the_scan(steps: Any, tmp_path: Path, tilt: str) -> None:
    for axes in ORIENTATIONS:
        write_scan(tmp_path / "scan.nii", axes, tilt=tilt)
        scan = nib.Nifti1Image.from_filename(tmp_path / "scan.nii")
        labels = np.arange(np.prod(scan.shape), dtype=np.uint8).reshape(scan.shape, order="F")
        grid = {"shape": scan.shape, "affine": scan.affine.tolist()}
        content = call(
            steps, "steps/nifti_header.js", "writeNifti", labels.ravel(order="F"), grid, {"mark": "m", "step": 0.5}
        )
        written = nib.Nifti1Image.from_bytes(content.tobytes())
        np.testing.assert_array_equal(written.affine, scan.affine)
        # a quaternion's first part, here 0 or at least 0.0089, comes from the others: float32 rounds these by 2^-25,
        # which moves it by up to 6e-6, and an element by up to 2 * 1.5 mm times that
        np.testing.assert_allclose(written.get_qform(), scan.affine, rtol=0, atol=2e-5)
        np.testing.assert_array_equal(written.get_fdata(), labels / 2)
        assert [int(written.header[f"{form}_code"]) for form in ("sform", "qform")] == [1, 1]
