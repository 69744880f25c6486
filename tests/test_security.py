# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from monai.data import DataLoader, PersistentDataset
from monai.handlers import CheckpointLoader

from scripts.base.errors import BundleError
from scripts.base.weights import load_weights
from scripts.brats import Item
from scripts.data.datalist import read_datalist
from scripts.data.discovery import find_cases
from scripts.data.transforms import LoadScansd
from scripts.label_app.expressions import refuse_expressions
from tests.builders import make_segmenter
from tests.data.test_checks import make_case

BUNDLE = Path(__file__).parents[1]
# what runs code that a file holds; torch.jit.load is of an export, which is a program, and named in docs/security.md
DANGEROUS = re.compile(
    r"(?<![.\w])(eval|exec)\(|pickle\.loads?\(|allow_pickle|yaml\.(unsafe_|full_)?load\(|shell=True|os\.system"
    r"|torch\.load\((?!.*weights_only=True)|weights_only=False"
)


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def expressions(mark: Path) -> list[str]:
    """Texts that MONAI's parser evaluates where they stand in a config."""
    return [f"$__import__('os').mkdir({str(mark)!r})", "@cohort", "%configs/train.yaml::dataset_dir"]


def test_nothing_in_the_sources_runs_what_a_file_holds() -> None:
    sources = [*(BUNDLE / "scripts").rglob("*.py"), *(BUNDLE / "configs").glob("*.yaml")]
    assert len(sources) > 40
    found = [
        f"{source.name}:{number}: {line}"
        for source in sources
        for number, line in enumerate(source.read_text().splitlines(), start=1)
        if DANGEROUS.search(line)
    ]
    assert not found


@pytest.mark.parametrize("loader", ["load_weights", "CheckpointLoader"])
def test_weights_and_states_that_hold_code_do_not_run_it(tmp_path: Path, loader: str) -> None:
    path, mark = tmp_path / "model.pt", tmp_path / "mark"
    torch.save({"network": Bomb(mark)}, path)
    segmenter = make_segmenter()
    if loader == "load_weights":
        with pytest.raises(BundleError, match="no checkpoint"):
            load_weights(segmenter, str(path))
    else:
        with pytest.raises(pickle.UnpicklingError):
            CheckpointLoader(str(path), {"network": segmenter})(None)  # type: ignore[arg-type]
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()  # as it would have


def test_the_cache_of_preprocessed_cases_runs_nothing(tmp_path: Path) -> None:
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "train.yaml")
    cases = [make_case(tmp_path / "data", f"BraTS2021_{index:05d}") for index in range(3)]
    parser.update({"dataset_dir": str(tmp_path / "data"), "cache_dir": str(tmp_path / "cache"), "patch_size": 16})
    dataset = parser.get_parsed_content("train#dataset")
    assert isinstance(dataset, PersistentDataset)
    assert len(dataset) < len(cases)
    first = dataset[0]["label"].shape
    (file,) = (tmp_path / "cache").glob("*.pt")
    torch.save(Bomb(tmp_path / "mark"), file)
    assert dataset[0]["label"].shape == first
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("index", range(3))
def test_expressions_in_a_data_list_are_names(tmp_path: Path, index: int) -> None:
    text = expressions(tmp_path / "mark")[index]
    entries = []
    for case in ("one", "two"):
        item = make_case(tmp_path / case)
        told = {"case": f"{text}{case}", "patient": f"{text}{case}", "description": text, "fold": text}
        entries.append({"image": item["image"], "label": item["label"]} | told)
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"name": text, "training": entries[:1], "validation": entries[1:]}))
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "train.yaml")
    parser.update({"datalist": str(path), "cache_dir": str(tmp_path / "cache"), "patch_size": 16})
    dataset = parser.get_parsed_content("validate#dataset")
    assert dataset.data[0]["case"] == os.path.basename(f"{text}two")
    assert next(iter(DataLoader(dataset)))["case"] == [os.path.basename(f"{text}two")]
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("case", ["../../x", "/etc/x", "..\\..\\x", "a/../../x", "$HOME", "~x"])
def test_a_case_of_a_data_list_stays_a_name(tmp_path: Path, case: str) -> None:
    items = [make_case(tmp_path / name) for name in ("one", "two")]
    entries = [{"image": item["image"], "label": item["label"]} for item in items]
    entries[1] |= {"case": case, "patient": "other"}
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"training": entries[:1], "validation": entries[1:]}))
    _, (item,) = read_datalist(str(path))
    assert item["case"] == os.path.basename(case)
    written_below(tmp_path, item)


@pytest.mark.parametrize("case", ["...", "a/", "new\nline", "nul\0", " ", "x" * 201])
def test_a_case_that_is_no_name_is_refused(tmp_path: Path, case: str) -> None:
    items = [make_case(tmp_path / name) for name in ("one", "two")]
    entries = [{"image": item["image"], "label": item["label"], "case": case} for item in items]
    path = tmp_path / "list.json"
    path.write_text(json.dumps({"training": entries[:1], "validation": entries[1:]}))
    with pytest.raises(BundleError, match="case ") as caught:
        read_datalist(str(path))
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("case", ["", ".", "..", "../../x", "/etc/x", "a/..", "a/b", "new\nline"])
def test_no_item_leads_out_of_the_output_folder(tmp_path: Path, case: str) -> None:
    item = make_case(tmp_path)
    with pytest.raises(BundleError, match="cannot name a file"):
        LoadScansd(keys="image")({"image": item["image"], "case": case})


def written_below(folder: Path, item: Item) -> None:
    """Runs the config's own steps that name a result's file, and finds the file in `output_dir`."""
    output = folder / "results" / "out"
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "inference.yaml")
    parser.update({"output_dir": str(output)})
    loaded = LoadScansd(keys="image")(cast(dict[Hashable, Any], item))
    transforms = yaml.safe_load((BUNDLE / "configs" / "inference.yaml").read_text())["postprocessing"]["transforms"]
    index = max(
        number for number, entry in enumerate(transforms) if entry["_target_"] == "scripts.inference.SaveVolumed"
    )
    save = parser.get_parsed_content(f"postprocessing#transforms#{index}")
    save({"pred": loaded["image"][:1]})
    assert [path.parent for path in (folder / "results").rglob("*.nii.gz")] == [output]


def test_file_names_are_not_evaluated(tmp_path: Path) -> None:
    names = ["$__import__('os').mkdir('mark')", "@cohort", "%name"]
    for name in names:
        make_case(tmp_path / "data", name)
    parser = ConfigParser()
    parser.read_config(BUNDLE / "configs" / "inference.yaml")
    parser.update({"dataset_dir": str(tmp_path / "data"), "cache_dir": str(tmp_path / "cache"), "spacing": 1.0})
    items = parser.get_parsed_content("dataset").data
    assert sorted(item["case"] for item in items) == sorted(names)
    assert items == find_cases(str(tmp_path / "data"), labels="ignored")
    assert not os.path.exists("mark")


@pytest.mark.parametrize(
    "request_",
    [
        {"max_epochs": "$__import__('os').system('touch mark')"},
        {"max_epochs": {"_target_": "os.system", "command": "touch mark"}},
        {"tracking": ["@bundle_root"]},
        {"params": {"deep": [{"deeper": " %configs/train.yaml"}]}},
        {"$x": 1},
    ],
)
def test_requests_that_a_config_would_evaluate_are_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="a request"):
        refuse_expressions(request_)


@pytest.mark.label
def test_fine_tuning_refuses_them_before_it_trains() -> None:
    training = pytest.importorskip("scripts.label_app.training")
    task = object.__new__(training.FineTuning)
    with pytest.raises(BundleError, match="a request"):
        task({"max_epochs": "$__import__('os').mkdir('mark')"}, None)


def test_plain_requests_pass() -> None:
    refuse_expressions({"model": "segmentation", "max_epochs": 2, "device": ["cpu"], "image": "case@t1", "x": None})
