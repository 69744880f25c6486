# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from markupsafe import Markup
from matplotlib.image import imread
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator

from scripts.base.errors import BundleError
from scripts.evaluation.report.handler import EvaluationReport
from scripts.evaluation.report.sections import Section
from scripts.evaluation.report.tables import region_table
from tests.outputs import KnownMetrics, assert_not_replaced, make_outputs, results_in

NAN = float("nan")
DICE = np.array([[0.9, 0.8, 0.7], [0.1, 0.2, 0.3], [0.5, 0.5, NAN]])
METRICS = {"mean_dice": DICE, "hd95": 10 * DICE, "sensitivity": DICE, "specificity": DICE, "lesions": DICE}


def with_tensors(item: Mapping[str, Any]) -> dict[str, Any]:
    return {**item, "image": torch.zeros(1, 2), "label": torch.zeros(1, 2)}


def evaluate(items: Sequence[Mapping[str, Any]], report: EvaluationReport, **options: Any) -> SupervisedEvaluator:
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items, transform=with_tensors), batch_size=2),
        network=torch.nn.Identity(),
        val_handlers=[KnownMetrics(METRICS), report],
        **options,
    )
    evaluator.run()
    return evaluator


def plain_items(*cases: str) -> list[dict[str, Any]]:
    return [{"case": case} for case in cases]


def test_evaluation_writes_tables_of_each_case_and_prints_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = EvaluationReport(tmp_path / "out", "held-out cases", scoring_rules="monai")
    for _ in range(2):
        evaluate(plain_items("z", "a", "m"), report)
    path = tmp_path / "out" / "per_case.csv"
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["region"]) for row in rows] == [(c, r) for c in "zam" for r in ("TC", "WT", "ET")]
    assert [row["dice"] for row in rows] == ["0.9", "0.8", "0.7", "0.1", "0.2", "0.3", "0.5", "0.5", ""]
    assert rows[3]["lesions"] == "0.1"
    table = region_table({"dice": DICE} | METRICS)
    assert capsys.readouterr().out == f"held-out cases\n{table}\n{path}\n" * 2
    assert "Lesions" not in table
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["scoring_rules"], summary["cases"]) == ("monai", 3)
    assert summary["metrics"]["dice"]["ET"]["left_out"] == 1
    assert "scoring rules monai" in (tmp_path / "out" / "summary.md").read_text()
    assert results_in(path.parent) == {"per_case.csv", "summary.json", "summary.md"}


@pytest.mark.parametrize("name", ["per_case.csv", "summary.json", "summary.md", "boxplots.png", "report.html"])
def test_a_persons_own_file_is_not_replaced(tmp_path: Path, name: str) -> None:
    report = EvaluationReport(tmp_path, "t", html=True, viewer_cases=0)
    assert_not_replaced(tmp_path / name, lambda: evaluate(plain_items("z", "a", "m"), report))
    assert results_in(tmp_path) <= {path.name for path in report.results_of([])}


def test_evaluation_without_ids_or_decollated_batches_is_refused(tmp_path: Path) -> None:
    report = EvaluationReport(tmp_path, "title")
    for items, options in ((plain_items("a"), {"decollate": False}), ([{"id": "a"}], {})):
        with pytest.raises(BundleError, match="items without 'case'"):
            evaluate(items, report, **options)
    assert not list(tmp_path.iterdir())


def test_pages_are_made_from_the_files_of_the_worst_median_and_best_case(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    items = make_outputs(tmp_path)
    output_dir = tmp_path / "out"

    sections = [lambda: Section("Extra", Markup("<p>more to say</p>")), lambda: None]
    evaluate(items, EvaluationReport(output_dir, "t", html=True, checkpoints="models/model.pt", sections=sections))
    page = (output_dir / "report.html").read_text()
    assert capsys.readouterr().out.endswith(f"{output_dir / 'report.html'}\n")
    assert "<p>more to say</p>" in page
    assert "models/model.pt" in page
    worst, median, best = (page.index(f'"reason": "{reason}"') for reason in ("worst", "median", "best"))
    assert page.rindex('"case": "phantom_001"', 0, worst) < worst < median < best
    assert 'id="volume-2-truth"' in page
    assert imread(output_dir / "boxplots.png").shape[1] > 1000
    assert imread(output_dir / "slices.png").shape[0] > 1000
    assert 'id="volume-2-confidence-TC"' in page
    evaluate(items, EvaluationReport(output_dir, "t", html=True, confidence=False))  # the maps are of a former run
    assert "-confidence-TC" not in (output_dir / "report.html").read_text()


def test_a_page_without_viewer_needs_no_label_maps(tmp_path: Path) -> None:
    evaluate(plain_items("z", "a", "m"), EvaluationReport(tmp_path, "t", html=True, viewer_cases=0))
    page = (tmp_path / "report.html").read_text()
    assert "niivue" not in page
    assert (tmp_path / "boxplots.png").exists()
    assert not (tmp_path / "slices.png").exists()


def test_a_page_of_label_maps_that_were_not_saved_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"a_seg\.nii\.gz: not found"):
        evaluate(plain_items("z", "a", "m"), EvaluationReport(tmp_path, "t", html=True))
    with pytest.raises(BundleError, match="viewer_cases: found -1"):
        EvaluationReport(tmp_path, "t", viewer_cases=-1)
