# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import nibabel as nib
from monai.data import Dataset, PersistentDataset
from monai.transforms import Lambda

from scripts.brats import Item
from scripts.data.item_files import files_of, hash_item
from tests.data.test_checks import make_case, make_scan, save, save_dicom


def test_the_files_of_a_volume_are_itself_or_those_in_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "[t1]"
    folder.mkdir()
    for name in ("b.dcm", "a.dcm"):
        (folder / name).touch()
    assert files_of(str(folder)) == [str(folder / "a.dcm"), str(folder / "b.dcm")]
    assert files_of(str(folder / "a.dcm")) == [str(folder / "a.dcm")]
    assert files_of(str(tmp_path / "nowhere")) == []


def test_the_hash_follows_every_file(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    item["image"][3] = save_dicom(tmp_path / "flair", make_scan(3), 3)
    hashes = {hash_item(item)}
    assert hash_item(cast(Item, dict(reversed(item.items())))) in hashes
    for path in (item["image"][0], item["label"], os.path.join(item["image"][3], "007.dcm")):
        os.utime(path, ns=(0, os.stat(path).st_mtime_ns + 1))
        hashes.add(hash_item(item))
    item["layout"] = "brats2023"
    hashes.add(hash_item(item))
    assert len(hashes) == 5


def test_a_persistent_data_set_sees_a_replaced_file(tmp_path: Path) -> None:
    load = Lambda(lambda item: float(nib.load(item["image"][0]).get_fdata().sum()))  # type: ignore[attr-defined]

    def read() -> float:
        return PersistentDataset([item], load, cache_dir=tmp_path / "cache", hash_func=hash_item)[0]

    item = make_case(tmp_path)
    first = read()
    assert read() == first == Dataset([item], load)[0]
    save(Path(item["image"][0]), make_scan(99))
    assert read() == Dataset([item], load)[0] != first
