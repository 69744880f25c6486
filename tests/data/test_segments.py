# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import itk
import numpy as np
import pytest
from monai.transforms import LoadImaged

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.checks import check_case
from scripts.data.datalist import read_datalist, write_datalist
from scripts.data.discovery import find_cases
from scripts.data.segments import read_segments
from scripts.data.transforms import BratsLabeld
from tests.data.test_checks import cut, make_case, make_label

Segment = tuple[str, int, int]  # name, value, layer


def write_segments(path: Path, values: tuple[float, ...], segments: Sequence[Segment]) -> str:
    """Writes a label map as 3D Slicer does, by ITK."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = itk.image_from_array(np.ascontiguousarray(make_label(values).T))
    image.SetDirection(np.diag([-1.0, -1, 1]))  # that of the scans, whose axes run to the right and to the front
    fields = image.GetMetaDataDictionary()
    for index, (name, value, layer) in enumerate(segments):
        fields[f"Segment{index}_Name"], fields[f"Segment{index}_ID"] = name, f"Segment_{index}"
        fields[f"Segment{index}_LabelValue"], fields[f"Segment{index}_Layer"] = str(value), str(layer)
    itk.imwrite(image, str(path), compression=True)
    return str(path)


def make_segmented(folder: Path, values: tuple[float, ...], segments: Sequence[Segment]) -> Item:
    item = make_case(folder)
    Path(item["label"]).unlink()
    write_segments(Path(item["label"].replace(".nii.gz", ".seg.nrrd")), values, segments)
    return find_cases(str(folder))[0]


def test_values_mean_what_the_segments_are_called(tmp_path: Path) -> None:
    segments = [("Enhancing tumor", 1, 0), ("Edema", 2, 0), ("NCR", 3, 0), ("Cavity", 4, 0)]
    item = make_segmented(tmp_path, (1, 2, 3, 4), segments)
    assert item.get("values") == {1: 4, 2: 2, 3: 1, 4: 0}
    assert check_case(item) is None
    loaded = LoadImaged("label", ensure_channel_first=True)(cast(dict, item))
    found = BratsLabeld("label")(loaded)["label"].numpy()[0]
    np.testing.assert_array_equal(found, make_label((4, 2, 1, 0)))


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        (
            [("ET", 1, 0), ("Segment_2", 2, 0)],
            "segment 'Segment_2' of value '2' is not understood; in 3D Slicer, rename",
        ),
        ([("tumour", 1, 0)], "segment 'tumour'"),
        ([("ET", 1, 0), ("edema", 1, 1)], "its segments overlap, in several layers"),
    ],
)
def test_segments_that_are_not_understood_are_refused_by_name(
    tmp_path: Path, segments: Sequence[Segment], expected: str
) -> None:
    item = make_segmented(tmp_path, (1, 2), segments)
    assert expected in item["fault"]
    assert "_seg.seg.nrrd: " in item["fault"]


def test_a_value_that_is_no_segment_is_refused(tmp_path: Path) -> None:
    item = make_segmented(tmp_path, (1, 2, 4), [("ET", 1, 0), ("edema", 2, 0)])
    assert "has labels 4;" in (check_case(item) or "none")


def test_files_without_segments_are_label_maps_like_others(tmp_path: Path) -> None:
    item = make_segmented(tmp_path, (1, 2, 4), [])
    assert "values" not in item
    assert check_case(item) is None
    assert read_segments(str(tmp_path / "nowhere.seg.nrrd")) == {}
    cut(item["label"], 0.02)
    assert read_segments(item["label"]) == {}
    assert "cannot be read" in (check_case(item) or "none")


def test_a_data_list_takes_the_names_from_the_file(tmp_path: Path) -> None:
    items = [make_segmented(tmp_path / case, (1, 2), [("ET", 1, 0), ("edema", 2, 0)]) for case in ("a", "b")]
    for case, item in zip("ab", items):
        item["case"] = item["patient"] = case
        del item["values"]
    write_datalist(str(tmp_path / "list.json"), items[:1], items[1:])
    (training,), (held_out,) = read_datalist(str(tmp_path / "list.json"))
    assert training["values"] == held_out["values"] == {1: 4, 2: 2}
    write_segments(Path(items[0]["label"]), (1, 2), [("first", 1, 0)])
    with pytest.raises(BundleError, match="segment 'first'"):
        read_datalist(str(tmp_path / "list.json"))
