# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.checks import check_cases
from scripts.data.discovery import find_cases
from scripts.data.patients import patient_of
from tests.data.test_checks import MODALITIES, make_case, make_label, make_scan, save, save_dicom

NAMES_2023 = ("t1n", "t1c", "t2w", "t2f")


def make_msd(folder: Path, case: str = "BRATS_001", subset: str = "Tr") -> None:
    scans = np.stack([make_scan(seed) for seed in range(4)], axis=3)
    save(folder / f"images{subset}" / f"{case}.nii.gz", scans)
    if subset == "Tr":
        save(folder / "labelsTr" / f"{case}.nii.gz", make_label((1, 2, 3)))
    (folder / f"images{subset}" / f"._{case}.nii.gz").write_bytes(b"left by macOS")


def touch(folder: Path, names: Sequence[str]) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [str(folder / name) for name in names]


def faults_of(items: Sequence[Item]) -> dict[str, str]:
    return {item["case"]: item["fault"] for item in items if "fault" in item}


def cases_of(items: Sequence[Item]) -> list[str]:
    return [item["case"] for item in items]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize(
    ("layout", "case", "names", "joint"),
    [
        ("brats2021", "BraTS2021_00001", MODALITIES, "_"),
        ("brats2021", "Brats18_TCIA01_201_1", MODALITIES, "_"),
        ("brats2023", "BraTS-GLI-00001-000", NAMES_2023, "-"),
    ],
)
def test_layouts_of_brats(
    tmp_path: Path, layout: str, case: str, names: Sequence[str], joint: str, suffix: str
) -> None:
    paths = touch(tmp_path / case, [f"{case}{joint}{name}{suffix}" for name in (*names, "seg")])
    item: Item = {
        "case": case,
        "patient": patient_of(case),
        "layout": layout,
        "image": paths[:4],
        "label": paths[4],
    }
    assert find_cases(str(tmp_path)) == [item]
    assert find_cases(str(tmp_path / case)) == [item]
    del item["label"]
    assert find_cases(str(tmp_path), labels="ignored") == [item]


def test_layout_of_msd(tmp_path: Path) -> None:
    make_msd(tmp_path)
    make_msd(tmp_path, "BRATS_485", subset="Ts")
    touch(tmp_path / "imagesTr" / "notes", ["README.md"])
    image, label = (str(tmp_path / folder / "BRATS_001.nii.gz") for folder in ("imagesTr", "labelsTr"))
    item: Item = {"case": "BRATS_001", "patient": "BRATS_001", "layout": "msd", "image": [image], "label": label}
    assert find_cases(str(tmp_path)) == [item]
    assert check_cases([item]) == {}
    del item["label"]
    items = find_cases(str(tmp_path), labels="ignored")
    assert items[0] == item
    assert items[1]["image"] == [str(tmp_path / "imagesTs" / "BRATS_485.nii.gz")]
    assert len(items) == 2
    assert [item["case"] for item in find_cases(str(tmp_path), labels="optional")] == ["BRATS_001"]
    os.remove(label)
    assert "has no seg file" in find_cases(str(tmp_path))[0]["fault"]


@pytest.mark.parametrize("names", [MODALITIES, ("T1", "T1CE", "T2", "FLAIR"), NAMES_2023])
def test_layout_of_dicom(tmp_path: Path, names: Sequence[str]) -> None:
    image = [save_dicom(tmp_path / "case7" / name, make_scan(index), index) for index, name in enumerate(names)]
    layout = "brats2023" if names == NAMES_2023 else "brats2021"
    item: Item = {"case": "case7", "patient": "case7", "layout": layout, "image": image}
    assert find_cases(str(tmp_path), labels="ignored") == [item]
    assert "no seg" in faults_of(find_cases(str(tmp_path)))["case7"]

    values = (1, 2, 3) if layout == "brats2023" else (1, 2, 4)
    label = save(tmp_path / "case7" / "case7_seg.nii.gz", make_label(values), np.diag([-1.0, -1, 1, 1]))
    item["label"] = label
    assert find_cases(str(tmp_path / "case7")) == [item]
    assert check_cases([item]) == {}


def test_cases_lie_anywhere_below_in_any_mixture(tmp_path: Path) -> None:
    touch(tmp_path / "HGG" / "b", [f"b_{name}.nii.gz" for name in (*MODALITIES, "seg")])
    touch(tmp_path / "LGG" / "x" / "a", [f"a-{name}.nii.gz" for name in (*NAMES_2023, "seg")])
    touch(tmp_path / "flat", [f"{case}_{name}.nii" for case in "cd" for name in (*MODALITIES, "seg")])
    touch(tmp_path / "e", [f"{name}.nii.gz" for name in (*MODALITIES, "seg")])
    touch(tmp_path / ".hidden" / "f", [f"f_{name}.nii.gz" for name in (*MODALITIES, "seg")])
    touch(tmp_path / "flat", ["d_t2.nii.gz"])
    touch(tmp_path, ["survival.csv", "._b_t1.nii.gz", "b_t1_brain_mask.nii.gz"])
    (tmp_path / "g").symlink_to(tmp_path / "HGG", target_is_directory=True)
    items = find_cases(str(tmp_path))
    assert cases_of(items) == ["a", "b", "c", "d", "e"]
    assert items[1]["image"][0] == str(tmp_path / "HGG" / "b" / "b_t1.nii.gz")
    faults = faults_of(items)
    assert list(faults) == ["d"]
    assert "/d_t2.nii.gz" in faults["d"]
    assert re.search("/d_t2.nii[:;]", faults["d"])


def test_names_of_modalities_alone_are_no_cases(tmp_path: Path) -> None:
    touch(tmp_path / "flair", ["README.md"])
    touch(tmp_path / "flair" / "BraTS2021_00001", [f"BraTS2021_00001_{name}.nii" for name in (*MODALITIES, "seg")])
    assert cases_of(find_cases(str(tmp_path / "flair"))) == ["BraTS2021_00001"]


def test_relative_folders_give_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_case(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    assert find_cases("data") == find_cases(str(tmp_path / "data"))


@pytest.mark.parametrize(
    ("missing", "expected"), [(["t1ce"], "no T1ce file"), (["seg"], "no seg file"), (["t2", "seg"], "no T2 and no seg")]
)
def test_incomplete_cases_are_told(tmp_path: Path, missing: list[str], expected: str) -> None:
    for case in ("a", "b"):
        touch(tmp_path / case, [f"{case}_{name}.nii" for name in (*MODALITIES, "seg")])
    for name in missing:
        (tmp_path / "b" / f"b_{name}.nii").unlink()
    items = find_cases(str(tmp_path))
    assert cases_of(items) == ["a", "b"]
    assert list(faults_of(items)) == ["b"]
    assert items[1]["fault"].startswith(f"{tmp_path / 'b'}: has {expected}")


def test_folders_without_cases(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nowhere: no such folder"):
        find_cases(str(tmp_path / "nowhere"))
    touch(tmp_path, ["scan.nii.gz", "survival.csv"])
    with pytest.raises(
        BundleError,
        match=r"no case found \(found scan.nii.gz, survival.csv\); understood are .*T1ce as t1ce, t1c",
    ):
        find_cases(str(tmp_path))


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    make_case(tmp_path / "data")
    for folder in (tmp_path / "data", tmp_path / "data" / "BraTS2021_00001"):
        for name in ("a", "b", "c"):
            (folder / name).symlink_to(tmp_path / "data")
    (tmp_path / "data" / "itself").symlink_to(tmp_path / "data" / "itself")
    items = find_cases(str(tmp_path / "data"))
    assert cases_of(items) == ["BraTS2021_00001"]
    assert faults_of(items) == {}


@pytest.mark.parametrize("case", ["new\nline", "\x1b[2J", "right\u202eleft", os.fsdecode(b"\xe9"), "x" * 201])
def test_cases_that_cannot_name_a_result_are_told(tmp_path: Path, case: str) -> None:
    touch(tmp_path / "folder", [f"{case}_{name}.nii" for name in (*MODALITIES, "seg")])
    touch(tmp_path, [f"sound 'é'_{name}.nii" for name in (*MODALITIES, "seg")])
    items = find_cases(str(tmp_path))
    assert list(faults_of(items)) == [case]
    assert faults_of(items)[case].isprintable()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_that_may_not_be_read(tmp_path: Path) -> None:
    make_case(tmp_path)
    (tmp_path / "BraTS2021_00001").chmod(0)
    try:
        with pytest.raises(BundleError, match="BraTS2021_00001: cannot be read"):
            find_cases(str(tmp_path))
    finally:
        (tmp_path / "BraTS2021_00001").chmod(0o700)


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("Brats17_2013_0_1", "Brats17_2013_0"),
        ("Brats18_CBICA_ABM_1", "Brats18_CBICA_ABM"),
        ("BraTS19_TCIA01_201_12", "BraTS19_TCIA01_201"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("BraTS2021_00006", "BraTS2021_00006"),
        ("BraTS-GLI-00000-000", "BraTS-GLI-00000"),
        ("BraTS-GLI-00000-101", "BraTS-GLI-00000"),
        ("BraTS-MET-00002-000", "BraTS-MET-00002"),
        ("BRATS_001", "BRATS_001"),
        ("phantom_003", "phantom_003"),
    ],
)
def test_patients(case: str, patient: str) -> None:
    assert patient_of(case) == patient
