# SPDX-License-Identifier: Apache-2.0
"""Views of a case that clients get."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.discovery import find_cases
from scripts.label_app.volumes import to_view
from tests.data.test_checks import make_case, save, save_dicom
from tests.label_app.running_server import voxels


@pytest.fixture
def item(tmp_path: Path) -> Item:
    make_case(tmp_path / "studies")
    return find_cases(str(tmp_path / "studies"), labels="ignored")[0]


def test_a_view_is_the_modalitys_own_file_or_all_four_in_one(item: Item, tmp_path: Path) -> None:
    assert str(to_view(item, "t2", cache_dir=tmp_path / "cache")) == item["image"][2]
    four = to_view(item, "4d", cache_dir=tmp_path / "cache")
    expected = np.stack([voxels(path) for path in item["image"]], axis=-1)
    np.testing.assert_array_equal(voxels(four), expected)
    assert voxels(four).dtype == np.int16
    np.testing.assert_array_equal(nib.Nifti1Image.from_filename(four).affine, np.eye(4))


def test_a_made_view_is_kept_until_a_scan_changes(item: Item, tmp_path: Path) -> None:
    first = to_view(item, "4d", cache_dir=tmp_path)
    made = first.stat().st_mtime_ns
    assert to_view(item, "4d", cache_dir=tmp_path).stat().st_mtime_ns == made
    save(Path(item["image"][0]), voxels(item["image"][0]) // 2)
    again = to_view(item, "4d", cache_dir=tmp_path)
    np.testing.assert_array_equal(voxels(again)[..., 0], voxels(item["image"][0]))
    assert again != first
    assert not first.exists()


def test_one_modality_of_dicom_is_converted(tmp_path: Path) -> None:
    scans = [np.full((4, 5, 6), value, np.int16) for value in (1, 2, 3, 4)]
    folders = [save_dicom(tmp_path / "case" / name, scan, i) for i, (name, scan) in enumerate(zip("abcd", scans))]
    case: Item = {"case": "case", "patient": "case", "layout": "brats2021", "image": folders}
    view = to_view(case, "t1ce", cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(voxels(view), scans[1])


def test_an_unknown_view_is_refused(item: Item, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="view ct: unknown; allowed are t1, t1ce, t2, flair, 4d"):
        to_view(item, "ct", cache_dir=tmp_path)


def test_the_cache_keeps_what_was_made_last(tmp_path: Path) -> None:
    for case in ("a", "b", "c"):
        make_case(tmp_path / "studies", case)
    items = find_cases(str(tmp_path / "studies"), labels="ignored")
    first = to_view(items[0], "4d", cache_dir=tmp_path / "cache")
    size = first.stat().st_size
    for item in items[1:]:
        to_view(item, "4d", cache_dir=tmp_path / "cache", cache_bytes=int(2.5 * size))
    assert sorted(place.name[0] for place in (tmp_path / "cache").glob("*.nii.gz")) == ["b", "c"]
    to_view(
        items[0], "4d", cache_dir=tmp_path / "cache", cache_bytes=1
    )  # larger than the cache, and served all the same
    assert [place.name[0] for place in (tmp_path / "cache").glob("*.nii.gz")] == ["a"]
