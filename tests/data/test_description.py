# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.base.errors import BundleError
from scripts.data.description import find_description, read_channels, read_values, tissue_named

MSD = {
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"},
}
OWN_ORDER = {
    "modality": {"0": "T1", "1": "T1ce", "2": "T2", "3": "FLAIR"},
    "labels": {"0": "background", "1": "necrosis", "2": "edema", "3": "enhancing tumour"},
}
NNUNET = {
    "channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"},
    "labels": {"background": 0, "whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": [3]},
    "regions_class_order": [1, 2, 3],
}
PED_2024 = {"labels": {"ET": 1, "NET": 2, "CC": 3, "ED": 4, "background": 0}}


def write_json(path: Path, content: Any) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return str(path)


@pytest.mark.parametrize(
    ("content", "channels", "values"),
    [
        (MSD, ["FLAIR", "T1", "T1ce", "T2"], {1: 2, 2: 1, 3: 4}),
        (OWN_ORDER, ["T1", "T1ce", "T2", "FLAIR"], {1: 1, 2: 2, 3: 4}),
        (NNUNET, ["T1", "T1ce", "T2", "FLAIR"], {1: 2, 2: 1, 3: 4}),
        (PED_2024, [], {1: 4, 2: 1, 3: 1, 4: 2}),
        ({"name": "something"}, [], {}),
        ([], [], {}),
    ],
)
def test_a_description_is_read(tmp_path: Path, content: Any, channels: list[str], values: dict[int, int]) -> None:
    path = write_json(tmp_path / "dataset.json", content)
    assert read_channels(path) == channels
    assert read_values(path) == values


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"labels": {"background": 0, "tumour": 1}}, "label 'tumour' is not understood"),
        ({"labels": {"0": "background", "1": "edema", "2": "necrosis"}}, "no enhancing tumour"),
        ({"labels": {"whole tumor": [1, 2], "enhancing tumor": [2]}}, "are not whole tumour, tumour core"),
        ({"channel_names": {"0": "T1", "1": "T2"}}, "must be there once"),
        ({"channel_names": {"0": "T1", "1": "T1", "2": "T2", "3": "FLAIR"}}, "must be there once"),
        ({"modality": {"0": "CT"}}, "must be there once"),
    ],
)
def test_a_description_that_is_not_understood_is_refused(tmp_path: Path, content: Any, expected: str) -> None:
    path = write_json(tmp_path / "dataset.json", content)
    read = read_values if "label" in expected or "no " in expected or "whole" in expected else read_channels
    with pytest.raises(BundleError, match=expected) as caught:
        read(path)
    assert path in str(caught.value)


def test_the_nearest_description_counts_and_none_above_the_root(tmp_path: Path) -> None:
    outer, inner = (write_json(tmp_path / place / "dataset.json", {}) for place in ("", "a"))
    (tmp_path / "a" / "b").mkdir()
    (tmp_path / "c").mkdir()
    assert find_description(str(tmp_path / "a" / "b"), str(tmp_path)) == inner
    assert find_description(str(tmp_path / "c"), str(tmp_path)) == outer
    assert find_description(str(tmp_path / "c"), str(tmp_path / "c")) is None


@pytest.mark.parametrize(
    ("name", "tissue"),
    [
        ("Resection_Cavity", 0),
        ("NCR/NET", 1),
        ("non-enhancing tumor core", 1),
        ("Peritumoral edema", 2),
        ("SNFH", 2),
        ("ET", 4),
        ("Enhancing tumour", 4),
        ("Segment_1", None),
        ("tumour", None),
        ("", None),
    ],
)
def test_a_tissue_is_known_by_its_names(name: str, tissue: int | None) -> None:
    assert tissue_named(name) == tissue


def test_a_description_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(BundleError, match=r"dataset\.json: cannot be read as JSON .*; correct it or move it away"):
        read_values(str(tmp_path / "dataset.json"))
