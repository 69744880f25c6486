# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest

from scripts.brats import Item
from scripts.data.checks import check_case, check_cases

SHAPE = (16, 16, 16)
MODALITIES = ("t1", "t1ce", "t2", "flair")


def make_label(values: tuple[float, ...] = (1, 2, 4)) -> np.ndarray:
    label = np.zeros(SHAPE, np.float32 if any(value % 1 for value in values) else np.uint8)
    for index, value in enumerate(values):
        label[4 + index, 4:8, 4:8] = value
    return label


def make_scan(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    scan = np.zeros(shape, np.int16)
    scan[2:-2, 2:-2, 2:-2] = np.random.default_rng(seed).integers(1, 1000, scan[2:-2, 2:-2, 2:-2].shape)
    return scan


def save(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> str:
    """Writes NIfTI, or NRRD or MetaImage by way of ITK."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith((".nii", ".nii.gz")):
        nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    else:
        itk.imwrite(itk.image_from_array(np.ascontiguousarray(voxels.T)), str(path), compression=True)
    return str(path)


def save_dicom(folder: Path, voxels: np.ndarray, series: int) -> str:
    folder.mkdir(parents=True)
    for index in range(voxels.shape[2]):
        slice_ = itk.image_from_array(np.ascontiguousarray(voxels[:, :, index].T[None]))
        slice_.SetOrigin([0, 0, index])
        tags = slice_.GetMetaDataDictionary()
        tags["0008|0060"] = "MR"
        tags["0020|000d"], tags["0020|000e"], tags["0020|0052"] = "1.2.3.4", f"1.2.3.4.{series}", "1.2.3.5"
        tags["0020|0013"] = str(index)
        writer = itk.GDCMImageIO.New()
        writer.SetKeepOriginalUID(True)
        itk.imwrite(slice_, str(folder / f"{index:03d}.dcm"), imageio=writer)
    return str(folder)


def make_case(folder: Path, case: str = "BraTS2021_00001", suffix: str = ".nii.gz") -> Item:
    """Writes a sound case of BraTS 2021's layout and returns its item."""
    image = [save(folder / case / f"{case}_{name}{suffix}", make_scan(i)) for i, name in enumerate(MODALITIES)]
    label = save(folder / case / f"{case}_seg{suffix}", make_label())
    return {"case": case, "patient": case, "layout": "brats2021", "image": image, "label": label}


def rewrite(path: str, change: Callable[[np.ndarray], Any], affine: np.ndarray | None = None) -> None:
    save(Path(path), change(np.asarray(nib.load(path).dataobj)), affine)  # type: ignore[attr-defined]


def put(value: float, voxels: np.ndarray) -> np.ndarray:
    voxels = voxels.astype(np.float32)
    voxels[3, 3, 3] = value
    return voxels


def cut(path: str, keep: float) -> None:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[: int(len(content) * keep)])


def damage_unseen(path: str) -> None:
    """Damages a file that keeps its size and time, which cannot be seen without reading it."""
    status = os.stat(path)
    Path(path).write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def announce(path: str, shape: tuple[int, ...]) -> None:
    """Makes the header lie about the shape, and leaves the voxels."""
    content = bytearray(gzip.decompress(Path(path).read_bytes()))
    content[40:48] = np.array([3, *shape], np.int16).tobytes()
    Path(path).write_bytes(gzip.compress(bytes(content)))


def flip_checksum(path: str) -> None:
    content = bytearray(Path(path).read_bytes())
    content[-8] ^= 255
    Path(path).write_bytes(bytes(content))


def tell_units(code: int, path: str) -> None:
    image = nib.Nifti1Image.from_filename(path)
    image.header["xyzt_units"] = code
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header), path)


SHIFTED = np.array([[1, 0, 0, 0.1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])

# What breaks a file of a sound case, and what the fault must say.
FAULTS: dict[str, tuple[str, Callable[[str], object], str]] = {
    "truncated": ("t1ce", lambda path: cut(path, 0.6), "cannot be read"),
    "truncated in its header": ("t2", lambda path: cut(path, 0.01), "cannot be read"),
    "trailer lost": ("t2", lambda path: Path(path).write_bytes(Path(path).read_bytes()[:-8]), "cannot be read"),
    "wrong checksum": ("t2", flip_checksum, "cannot be read"),
    "empty": ("flair", lambda path: Path(path).write_bytes(b""), "cannot be read"),
    "not gzip": ("t1", lambda path: Path(path).write_bytes(gzip.decompress(Path(path).read_bytes())), "rename it to"),
    "web page": ("t1", lambda path: Path(path).write_text("<!DOCTYPE html><html>Sign in</html>"), "is a web page"),
    "LFS": ("t1", lambda path: Path(path).write_text("version https://git-lfs.github.com/spec/v1"), "git lfs pull"),
    "not NIfTI": ("t1", lambda path: Path(path).write_bytes(gzip.compress(b"x" * 5000)), "cannot be read"),
    "missing": ("t2", lambda path: Path(path).unlink(), "no such file"),
    "huge header": ("flair", lambda path: announce(path, (20000, 20000, 20000)), "(20000, 20000, 20000)"),
    "large volume": ("flair", lambda path: announce(path, (1024, 1024, 1000)), "128 Mi in all"),
    "negative axis": ("flair", lambda path: announce(path, (16, -16, 16)), "header"),
    "larger than its content": ("flair", lambda path: announce(path, (16, 16, 17)), "ends before"),
    "smaller than its content": ("flair", lambda path: announce(path, (16, 16, 15)), "more voxels than its header"),
    "the same everywhere": ("flair", lambda path: rewrite(path, np.ones_like), "1 everywhere"),
    "other shape": ("t2", lambda path: rewrite(path, lambda voxels: voxels[:, :, :15]), "(16, 16, 15)"),
    "other affine": ("flair", lambda path: rewrite(path, lambda voxels: voxels, SHIFTED), "affine"),
    "4D": ("t1", lambda path: rewrite(path, lambda voxels: np.stack([voxels] * 2, axis=3)), "must be 3D"),
    "2D": ("t1", lambda path: rewrite(path, lambda voxels: voxels[8]), "must be 3D"),
    "complex": ("t1", lambda path: rewrite(path, lambda voxels: voxels.astype(np.complex64)), "complex64"),
    "metres": ("t2", partial(tell_units, 1), "gives lengths in metres"),
    "micrometres": ("seg", partial(tell_units, 3), "gives lengths in micrometres"),
    "NaN": ("t1ce", lambda path: rewrite(path, partial(put, np.nan)), "NaN"),
    "infinite": ("t1ce", lambda path: rewrite(path, partial(put, -np.inf)), "infinite"),
    "zero": ("flair", lambda path: rewrite(path, np.zeros_like), "0 everywhere"),
    "negative label": ("seg", lambda path: rewrite(path, lambda _: make_label((1, 2, 4)).astype(np.int16) - 1), "-1"),
    "fractional label": ("seg", lambda path: rewrite(path, lambda _: make_label((1, 2, 0.5))), "labels 0.5;"),
    "many labels": ("seg", lambda path: rewrite(path, lambda _: make_scan()), ", ...;"),
    "labels 3 and 4": ("seg", lambda path: rewrite(path, lambda _: make_label((1, 2, 3, 4))), "has labels 3;"),
    "label of other shape": ("seg", lambda path: rewrite(path, lambda voxels: voxels[:15]), "(15, 16, 16)"),
    "label of other affine": ("seg", lambda path: rewrite(path, lambda voxels: voxels, SHIFTED), "affine"),
    "label with NaN": ("seg", lambda path: rewrite(path, partial(put, np.nan)), "NaN"),
}


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_sound_case_has_no_fault(tmp_path: Path, suffix: str) -> None:
    assert check_case(make_case(tmp_path, suffix=suffix)) is None


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_told_with_its_file(tmp_path: Path, name: str) -> None:
    kind, damage, expected = FAULTS[name]
    item = make_case(tmp_path)
    path = dict(zip((*MODALITIES, "seg"), (*item["image"], item["label"])))[kind]
    damage(path)
    fault = check_case(item) or "none"
    assert f"_{kind}.nii.gz" in fault
    assert expected in fault
    assert "\n" not in fault


@pytest.mark.parametrize(
    ("layout", "values", "sound"),
    [
        ("brats2021", (1, 2, 4), True),
        ("brats2023", (1, 2, 3), True),
        ("brats2023", (1, 2, 4), False),
        ("brats2021", (), True),
    ],
)
def test_labels_are_those_of_the_layout(tmp_path: Path, layout: str, values: tuple[float, ...], sound: bool) -> None:
    item = make_case(tmp_path)
    item["layout"] = layout
    save(Path(item["label"]), make_label(values))
    assert (check_case(item) is None) == sound


def test_affines_may_differ_by_rounding(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    rewrite(item["image"][2], lambda voxels: voxels, np.eye(4) + 5e-4 * (np.eye(4) - np.diag([0, 0, 0, 1])))
    assert check_case(item) is None


def test_units_of_time_and_unknown_ones_are_no_fault(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    for code, path in zip((0, 2, 10, 8), item["image"]):
        tell_units(code, path)
    assert check_case(item) is None


def test_scaled_voxels_are_judged_by_their_values(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    image = nib.Nifti1Image(make_label((2, 4, 8)), np.eye(4))
    image.header.set_slope_inter(0.5, 0)
    nib.save(image, item["label"])
    assert check_case(item) is None


@pytest.mark.parametrize(
    ("scans", "expected"),
    [
        ([make_scan(seed) for seed in range(4)], None),
        ([make_scan(seed) for seed in range(3)], "must be 4D with 4 modalities"),
        ([make_scan(), make_scan(), np.zeros_like(make_scan()), make_scan()], "modality 2 in"),
        (list(make_scan()), "must be 4D with 4 modalities"),
    ],
)
def test_one_4d_file(tmp_path: Path, scans: list[np.ndarray], expected: str | None) -> None:
    image = save(tmp_path / "imagesTr" / "BRATS_001.nii.gz", np.stack(scans, axis=-1))
    label = save(tmp_path / "labelsTr" / "BRATS_001.nii.gz", make_label((1, 2, 3)))
    item: Item = {"case": "BRATS_001", "patient": "BRATS_001", "layout": "msd", "image": [image], "label": label}
    fault = check_case(item)
    assert fault is None if expected is None else expected in (fault or "none")


def announce_in_text(path: str) -> None:
    content = Path(path).read_bytes()
    assert b"16 16 16" in content
    Path(path).write_bytes(content.replace(b"16 16 16", b"9999 9999 9999", 1))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha"])
@pytest.mark.parametrize(
    ("damage", "expected"), [(partial(cut, keep=0.5), "cannot be read"), (announce_in_text, "(9999, 9999, 9999)")]
)
def test_faults_of_files_that_itk_reads(
    tmp_path: Path, suffix: str, damage: Callable[[str], None], expected: str
) -> None:
    item = make_case(tmp_path, suffix=suffix)
    damage(item["image"][1])
    fault = check_case(item) or "none"
    assert item["image"][1] in fault
    assert expected in fault


def test_dicom_folders(tmp_path: Path) -> None:
    image = [save_dicom(tmp_path / name, make_scan(i), i) for i, name in enumerate(MODALITIES)]
    label = save(tmp_path / "seg.nii.gz", make_label(), np.diag([-1.0, -1, 1, 1]))
    item: Item = {"case": "one", "patient": "one", "layout": "brats2021", "image": image, "label": label}
    assert check_case(item) is None
    (tmp_path / "t2" / "007.dcm").write_bytes(b"damaged")
    assert str(tmp_path / "t2") in (check_case(item) or "none")
    for file in (tmp_path / "t2").iterdir():
        file.unlink()
    assert str(tmp_path / "t2") in (check_case(item) or "none")


def test_faults_are_told_by_case(tmp_path: Path) -> None:
    items = [make_case(tmp_path, f"BraTS2021_{index:05d}") for index in range(4)]
    items[0]["fault"] = "found to be incomplete"
    cut(items[2]["image"][0], 0.5)
    rewrite(items[1]["image"][3], np.zeros_like)
    faults = check_cases(items)
    assert list(faults) == ["BraTS2021_00000", "BraTS2021_00001", "BraTS2021_00002"]
    assert faults["BraTS2021_00000"] == "found to be incomplete"
    assert "0 everywhere" in faults["BraTS2021_00001"]


def test_the_cache_spares_sound_cases_and_finds_changed_ones(tmp_path: Path) -> None:
    items = [make_case(tmp_path / "data", f"BraTS2021_{index:05d}") for index in range(3)]
    cut(items[0]["image"][0], 0.5)
    check = partial(check_cases, cache_dir=str(tmp_path / "cache"))
    assert [list(check([item])) for item in items] == [["BraTS2021_00000"], [], []]

    for item in items[1:]:
        damage_unseen(item["image"][0])
    assert list(check(items)) == ["BraTS2021_00000"]
    assert len(check_cases(items)) == 3

    os.utime(items[1]["image"][0], ns=(0, 0))
    assert list(check(items)) == ["BraTS2021_00000", "BraTS2021_00001"]


def test_checking_leaves_the_data_set_alone(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    check_cases([item])
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
