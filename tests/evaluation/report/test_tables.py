# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from scripts.base.errors import BundleError
from scripts.evaluation.report.tables import HD95_NOTE, METRIC_FORMATS, case_means, region_table, write_per_case
from tests.outputs import results_in

METRICS_OF_TWO = {
    "hd95": torch.tensor([[1.0, 2, 373.1287], [3, 2, 0]]),
    "dice": torch.tensor([[0.9, 0.8, 0.0], [0.7, 0.8, 1.0]]),
}
NAN = float("nan")


def test_table_has_mean_and_deviation_of_each_region_for_the_metrics_given() -> None:
    assert region_table(METRICS_OF_TWO).splitlines() == [
        "region              Dice         HD95 (mm)",
        "    TC   0.8000 ± 0.1414     2.00 ±   1.41",
        "    WT   0.8000 ± 0.0000     2.00 ±   0.00",
        "    ET   0.5000 ± 0.7071   186.56 ± 263.84",
        "  mean   0.7000 ± 0.1886    63.52 ±  87.48",
        "mean ± SD, N = 2",
        HD95_NOTE,
        "Not for diagnosis.",
    ]


def test_table_of_brats_2023_is_of_lesions_and_of_whole_regions() -> None:
    metrics = METRICS_OF_TWO | {"lesion_hd95": torch.full((2, 3), 374.0), "lesion_dice": torch.full((2, 3), 0.25)}
    heading, first, *_ = region_table(metrics | {"sensitivity": torch.zeros(2, 3)}).splitlines()
    assert re.split(r"\s{3,}", heading) == ["region", "Lesion-wise Dice", "Lesion-wise HD95 (mm)", "Dice", "HD95 (mm)"]
    assert [first.split()[i] for i in (1, 4, 7, 10)] == ["0.2500", "374.00", "0.8000", "2.00"]


def test_table_of_brats_2025_is_of_matched_lesions_and_of_whole_regions() -> None:
    names = ("matched_dice", "matched_hd95", "pooled_hd95", "nsd")
    heading, *_ = region_table(METRICS_OF_TWO | dict.fromkeys(names, torch.ones(2, 3))).splitlines()
    shown = ["Dice of matched lesions", "Pooled HD95 of matched lesions (mm)", "Dice", "Pooled HD95 (mm)"]
    assert re.split(r"\s{3,}", heading) == ["region", *shown]


def test_the_note_says_which_hd95_is_which_where_one_is_shown() -> None:
    for words in ("larger of the two directed", "pooled HD95", "both directions together"):
        assert words in HD95_NOTE
    assert HD95_NOTE not in region_table({"dice": torch.ones(2, 3)})


def test_table_of_one_case_has_no_deviation() -> None:
    table = region_table({"sensitivity": torch.tensor([[1.0, 0.5, 0.0]])})
    assert table.splitlines()[1:3] == ["    TC   1.0000 ±    n/a", "    WT   0.5000 ±    n/a"]
    assert "N = 1" in table


@pytest.mark.parametrize(
    "metrics",
    [
        {},
        {"f1": torch.zeros(2, 3)},
        {"dice": torch.zeros(0, 3)},
        {"dice": torch.zeros(2, 4)},
        {"dice": torch.zeros(2, 3), "hd95": torch.zeros(3, 3)},
    ],
)
def test_table_of_no_metrics_or_of_other_shapes_is_refused(metrics: dict[str, torch.Tensor]) -> None:
    with pytest.raises(BundleError, match="metrics: found"):
        region_table(metrics)


def test_file_has_a_line_per_case_and_region_and_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "per_case.csv"
    write_per_case(path, ["old"], {"dice": torch.zeros(1, 3)})
    write_per_case(path, ["b", 'a,"quoted"'], METRICS_OF_TWO)
    assert path.read_text().splitlines() == [
        "case,region,dice,hd95",
        "b,TC,0.9,1",
        "b,WT,0.8,2",
        "b,ET,0,373.129",
        '"a,""quoted""",TC,0.7,3',
        '"a,""quoted""",WT,0.8,2',
        '"a,""quoted""",ET,1,0',
    ]
    assert results_in(path.parent) == {path.name}


def test_file_of_other_cases_or_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cases: found 1 ids for metrics of 2 cases"):
        write_per_case(tmp_path / "per_case.csv", ["a"], METRICS_OF_TWO)
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"file/per_case\.csv: cannot be written"):
        write_per_case(tmp_path / "file" / "per_case.csv", ["a", "b"], METRICS_OF_TWO)


def test_what_is_unknown_is_left_out_of_the_means_and_said_so() -> None:
    table = region_table({"dice": np.array([[0.5, NAN, NAN], [0.7, NAN, 0.4], [NAN, NAN, NAN]])})
    assert table.splitlines() == [
        "region              Dice",
        "    TC   0.6000 ± 0.1414",
        "    WT      n/a ±    n/a",
        "    ET   0.4000 ±    n/a",
        "  mean   0.5250 ± 0.0354",
        "mean ± SD, N = 3",
        "left out, of 3 cases (no truth, or undefined): Dice TC 1, WT 3, ET 2",
        "Not for diagnosis.",
    ]


def test_what_is_unknown_is_an_empty_cell_and_every_known_metric_is_written(tmp_path: Path) -> None:
    metrics = {name: np.full((1, 3), 0.25) for name in reversed(METRIC_FORMATS)} | {"else": np.zeros((1, 3))}
    metrics["dice"] = np.array([[NAN, 0.0, 1.0]])
    write_per_case(tmp_path / "per_case.csv", ["a"], metrics)
    with open(tmp_path / "per_case.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "region", *METRIC_FORMATS]
    assert [row["dice"] for row in rows] == ["", "0", "1"]
    assert {row["false_lesions"] for row in rows} == {"0.25"}


def test_a_cases_mean_is_of_the_regions_that_it_has() -> None:
    np.testing.assert_array_equal(case_means(np.array([[0, 1, 0.5], [NAN, 1, 0.5], [NAN, NAN, NAN]])), [0.5, 0.75, NAN])
