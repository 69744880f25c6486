# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np

from scripts.tools.paired import by_patient, by_region, difference, read_column


def test_empty_fields_are_undefined_and_left_out_of_means(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("case,region,dice\na,TC,0.25\na,WT,\nb,TC,\n")
    values = read_column(tmp_path / "t.csv", "dice")
    assert values["a", "TC"] == 0.25
    assert np.isnan([values["a", "WT"], values["b", "TC"]]).all()
    assert by_patient([values, {("a", "ET"): 0.75}]) == {"a": 0.5}


def test_means_of_regions_leave_undefined_values_out() -> None:
    values = {("a", "TC"): 0.5, ("b", "TC"): 0.25, ("a", "WT"): 1.0, ("a", "ET"): 0.0, ("b", "ET"): float("nan")}
    assert by_region(values, digits=3) == "0.375 / 1.000 / 0.000"


def test_differences_are_of_shared_cases_with_an_interval_that_holds_their_mean() -> None:
    assert difference({"a": 0.5, "b": 0.75, "c": 0.0}, {"a": 0.25, "b": 0.5}) == "+0.2500 (+0.2500 to +0.2500)"
    assert difference({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 0.0}) == "+0.5000 (+0.0000 to +1.0000)"
    assert difference({"a": 1.0}, {"a": 0.0}) == ""
