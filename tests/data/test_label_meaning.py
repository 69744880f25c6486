# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from monai.transforms import LoadImaged

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.checks import check_case, check_cases
from scripts.data.discovery import find_cases
from scripts.data.transforms import BratsLabeld, LoadScansd
from tests.data.test_checks import make_case, make_label, make_scan, rewrite, save
from tests.data.test_description import MSD, NNUNET, OWN_ORDER, PED_2024, write_json
from tests.data.test_discovery import NAMES_2023


def load_label(item: Item) -> np.ndarray:
    label = LoadImaged("label", ensure_channel_first=True)(cast(dict, item))
    return BratsLabeld("label")(label)["label"].numpy()[0]


@pytest.mark.parametrize("content", [MSD, OWN_ORDER, None])
def test_a_4d_file_is_read_in_the_order_that_its_description_tells(tmp_path: Path, content: Any) -> None:
    if content:
        write_json(tmp_path / "dataset.json", content)
    scans = np.stack([make_scan(seed) for seed in range(4)])
    channels = [0, 1, 2, 3] if content is OWN_ORDER else [3, 0, 1, 2]
    values = (1, 2, 3) if content is OWN_ORDER else (2, 1, 3)
    save(tmp_path / "imagesTr" / "BRATS_001.nii.gz", np.moveaxis(scans[channels], 0, -1))
    save(tmp_path / "labelsTr" / "BRATS_001.nii.gz", make_label(values))
    (item,) = find_cases(str(tmp_path))
    assert check_case(item) is None
    np.testing.assert_array_equal(LoadScansd("image")(cast(dict, item))["image"], scans)
    np.testing.assert_array_equal(load_label(item), make_label((1, 2, 4)))


@pytest.mark.parametrize("described", [True, False])
def test_raw_data_of_nnunet_need_their_description(tmp_path: Path, described: bool) -> None:
    scans = [make_scan(seed) for seed in range(4)]
    for channel, scan in enumerate(scans):
        save(tmp_path / "imagesTr" / f"BRATS_001_{channel:04d}.nii.gz", scan)
    save(tmp_path / "labelsTr" / "BRATS_001.nii.gz", make_label((2, 1, 3)))
    if described:
        write_json(tmp_path / "dataset.json", NNUNET)
    (item,) = find_cases(str(tmp_path))
    if described:
        assert check_case(item) is None
        np.testing.assert_array_equal(LoadScansd("image")(cast(dict, item))["image"], scans)
        np.testing.assert_array_equal(load_label(item), make_label((1, 2, 4)))
    else:
        assert "dataset.json must tell" in item["fault"]


def write_2023(folder: Path, case: str, values: tuple[int, ...]) -> None:
    for seed, name in enumerate(NAMES_2023):
        save(folder / case / f"{case}-{name}.nii.gz", make_scan(seed))
    save(folder / case / f"{case}-seg.nii.gz", make_label(values))


def test_the_numbering_of_brats_ped_is_not_guessed(tmp_path: Path) -> None:
    write_2023(tmp_path, "BraTS-PED-00001-000", (1, 2, 3))
    (item,) = find_cases(str(tmp_path))
    assert "put a dataset.json" in (check_case(item) or "none")
    assert check_case(find_cases(str(tmp_path), labels="ignored")[0]) is None
    write_json(tmp_path / "dataset.json", PED_2024)
    (item,) = find_cases(str(tmp_path))
    assert check_case(item) is None
    np.testing.assert_array_equal(load_label(item), make_label((4, 1, 1)))


def test_the_description_that_the_message_gives_is_understood(tmp_path: Path) -> None:
    write_2023(tmp_path, "BraTS-PED-00001-000", (1, 2, 3))
    fault = check_case(find_cases(str(tmp_path))[0]) or "none"
    given = re.findall(r"\{\"labels\": \{.*?\}\}", fault)
    for text, values in zip(given, ((1, 2, 4), (4, 1, 1)), strict=True):
        (tmp_path / "dataset.json").write_text(text)
        (item,) = find_cases(str(tmp_path))
        np.testing.assert_array_equal(load_label(item), make_label(values))


def test_a_cavity_that_a_description_names_is_background(tmp_path: Path) -> None:
    write_2023(tmp_path, "BraTS-GLI-00001-100", (1, 2, 3, 4))
    write_json(tmp_path / "dataset.json", {"labels": {"NETC": 1, "SNFH": 2, "ET": 3, "resection cavity": 4}})
    (item,) = find_cases(str(tmp_path))
    assert check_case(item) is None
    np.testing.assert_array_equal(load_label(item), make_label((1, 2, 4, 0)))
    save(Path(item["label"]), make_label((1, 2, 3, 5)))
    assert "has labels 5; in the dataset.json {0, 1, 2, 3, 4} are allowed" in (check_case(item) or "none")


def test_the_cavity_of_brats_2024_is_not_to_be_renamed(tmp_path: Path) -> None:
    write_2023(tmp_path, "BraTS-GLI-00001-100", (1, 2, 3, 4))
    fault = check_case(find_cases(str(tmp_path))[0]) or "none"
    assert "has labels 4;" in fault
    assert "resection cavity" in fault
    assert "rename" not in fault
    item = make_case(tmp_path / "old")
    save(Path(item["label"]), make_label((1, 2, 3, 4)))
    assert "resection cavity" in (check_case(item) or "none")


@pytest.mark.parametrize("deviation", [-1e-7, 0.0039, 2e-5, -0.009])
def test_labels_are_rounded(tmp_path: Path, deviation: float) -> None:
    item = make_case(tmp_path)
    label = make_label((1, 2, 4)).astype(np.float32)
    save(Path(item["label"]), np.where(label > 0, label + deviation, 0).astype(np.float32))
    assert check_case(item) is None
    np.testing.assert_array_equal(load_label(item), label)


def test_values_between_whole_numbers_are_refused(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    save(Path(item["label"]), (make_label() * 1.02).astype(np.float32))
    assert "has labels 1.02" in (check_case(item) or "none")


def test_axes_of_one_voxel_are_dropped(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    for path in (item["label"], *item["image"]):
        rewrite(path, lambda voxels: voxels[..., None])
    rewrite(item["label"], lambda voxels: voxels[..., None])
    assert check_case(item) is None
    np.testing.assert_array_equal(load_label(item), make_label())
    assert LoadScansd("image")(cast(dict, item))["image"].shape == (4, 16, 16, 16)


def test_labels_of_several_channels_are_told(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    label = make_label()
    save(Path(item["label"]), np.stack([label == value for value in (1, 2, 4)], axis=-1).astype(np.uint8))
    fault = check_case(item) or "none"
    assert "has 3 channels, one-hot or region by region" in fault
    assert "one label map" in fault


def test_binary_masks_of_a_whole_data_set_are_refused(tmp_path: Path) -> None:
    items = [make_case(tmp_path, f"case_{index:05d}") for index in range(3)]
    for item in items[:2]:
        save(Path(item["label"]), make_label((1,)))
    cache = str(tmp_path / "cache")
    assert check_cases(items, cache_dir=cache) == {}
    for _ in range(2):
        with pytest.raises(BundleError, match="binary masks"):
            check_cases(items[:2], cache_dir=cache)


@pytest.mark.parametrize(("values", "missing"), [((1, 2), "enhancing tumour"), ((1, 4), "oedema"), ((1, 2, 4), "")])
def test_a_tissue_that_no_case_has_is_told(
    tmp_path: Path, values: tuple[int, ...], missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    items = [make_case(tmp_path, f"case_{index:05d}") for index in range(2)]
    for item in items:
        save(Path(item["label"]), make_label(values))
    with caplog.at_level(logging.WARNING):
        assert check_cases(items) == {}
    assert (f"has {missing}" in caplog.text) if missing else not caplog.text


def test_a_batch_may_mix_cases_with_and_without_a_description(tmp_path: Path) -> None:
    write_2023(tmp_path / "ped", "BraTS-PED-00001-000", (1, 2, 3))
    write_json(tmp_path / "ped" / "dataset.json", PED_2024)
    make_case(tmp_path / "other")
    items = find_cases(str(tmp_path))
    assert ["values" in item for item in items] == [True, False]
    load = LoadImaged("label", ensure_channel_first=True)
    loaded = [BratsLabeld("label")(LoadScansd("image")(load(cast(dict, item)))) for item in items]
    assert loaded[0].keys() == loaded[1].keys()
    assert torch.equal(torch.unique(torch.as_tensor(loaded[0]["label"])), torch.tensor([0.0, 1, 4]))
