# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.transforms import Compose, Lambda

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.cached_dataset import CachedDataset, CaseDataset
from tests.data.test_checks import make_case

BUNDLE = Path(__file__).parents[2]


def make_dataset(item: Item, cache_dir: Path | None, seen: list[str]) -> CachedDataset:
    def load(case: Item) -> dict[str, torch.Tensor]:
        seen.append(case["case"])
        return {"image": torch.arange(1000.0)}

    return CachedDataset([item], Compose([Lambda(load)]), cache_dir, hash_transform=None)


@pytest.mark.parametrize("keep", [0.0, 0.01, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_made_anew(tmp_path: Path, keep: float, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    item = make_case(tmp_path / "data")
    dataset = make_dataset(item, tmp_path / "cache", seen)
    first = dataset[0]["image"]
    (file,) = (tmp_path / "cache").glob("*.pt")
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content))])
    with caplog.at_level(logging.WARNING):
        assert torch.equal(dataset[0]["image"], first)
    assert str(file) in caplog.text
    assert torch.equal(dataset[0]["image"], first)
    assert len(seen) == 2


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("error", [ValueError("too\nsmall"), BundleError("t1.nii: broken")])
def test_an_error_names_the_cases_files(tmp_path: Path, cached: bool, error: Exception) -> None:
    def refuse(case: Item) -> None:
        raise error

    item = make_case(tmp_path / "data")
    transforms = Compose([Lambda(refuse)])
    datasets = CaseDataset([item], transforms), CachedDataset([item], transforms, tmp_path / "c", hash_transform=None)
    with pytest.raises(BundleError) as caught:
        datasets[cached][0]
    said = str(caught.value)
    assert said == "t1.nii: broken" or (item["image"][0] in said and r"(ValueError: too\nsmall)" in said)


def test_a_fault_in_a_loaders_worker_is_told_in_its_own_words(tmp_path: Path) -> None:
    item = make_case(tmp_path)
    Path(item["image"][2]).write_bytes(b"no scan")
    code = f"""
from monai.transforms import Compose
from torch.utils.data import DataLoader
from scripts.data.cached_dataset import CaseDataset
from scripts.base.errors import report_bundle_errors
from scripts.data.transforms import LoadScansd

report_bundle_errors()
next(iter(DataLoader(CaseDataset([{item!r}], Compose([LoadScansd(keys="image")])), num_workers=1)))
"""
    result = subprocess.run([sys.executable, "-c", code], cwd=BUNDLE, capture_output=True, text=True, timeout=300)
    assert result.returncode == 1
    message = result.stderr[result.stderr.index("error: ") :]
    assert message.startswith("error: cannot read")
    assert item["image"][2] in message
    assert len(message.strip().splitlines()) == 1


def test_a_file_is_moved_within_the_caches_own_disk_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = []
    move = shutil.move

    def watch(source: str, target: Path) -> Any:
        moves.append((source, target))
        return move(source, target)

    monkeypatch.setattr("shutil.move", watch)
    elsewhere = tempfile.gettempdir()
    load = Lambda(lambda case: {"image": torch.arange(4.0)})
    cached = CachedDataset([make_case(tmp_path / "data")], Compose([load]), tmp_path / "cache", hash_transform=None)
    first: Any = cached[0]
    ((source, target),) = moves
    assert tmp_path / "cache" in Path(source).parents
    assert list((tmp_path / "cache").iterdir()) == [Path(target)]
    assert tempfile.gettempdir() == elsewhere
    again: Any = cached[0]
    assert torch.equal(torch.as_tensor(first["image"]), torch.as_tensor(again["image"]))
    assert len(moves) == 1
