# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.engines import Evaluator

from scripts.base.text_files import write_json
from scripts.brats import REGIONS
from scripts.evaluation.reliability.handler import ReliabilityHandler
from scripts.evaluation.reliability.scores import score_case
from scripts.evaluation.reliability.section import reliability_section
from tests.evaluation.reliability.test_scores import make_case
from tests.outputs import assert_not_replaced, results_in
from tests.tolerances import SIX_DIGITS


def run_handler(folder: Path, *, without: str | None = None) -> dict[str, np.ndarray]:
    """Evaluates three cases, one after the other, with 2 mm voxels, and returns the metrics that are added."""

    def step(engine: Engine, batch: list[dict[str, Any]]) -> list[dict[str, Any]]:
        case = make_case(batch[0]["seed"])
        names = {"prediction": "regions"}
        affine = torch.diag(torch.tensor([2.0, 2, 2, 1]))
        output: dict[str, Any] = {
            names.get(n, n): MetaTensor(torch.as_tensor(v).float(), affine=affine) for n, v in case.items()
        }
        output["label"] = output.pop("truth")
        islands = [{"volume_ml": 1.0, "probability": 0.05, "true_share": share} for share in (0.0, 1.0)]
        return [{name: volume for name, volume in output.items() if name != without} | {"islands": islands}]

    engine = Engine(step)
    state: Any = engine.state
    state.metric_details = {}
    ReliabilityHandler(folder).attach(cast(Evaluator, engine))
    engine.run([[{"case": f"case_{seed}", "seed": seed}] for seed in range(3)])
    return dict(state.metric_details)


def test_the_handler_writes_rows_summary_and_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    metrics = run_handler(tmp_path)
    with open(tmp_path / "reliability.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case"], row["region"]) for row in rows] == [(f"case_{i}", r) for i in range(3) for r in REGIONS]
    # the report's list of cases has the same as the file
    for name, column in (("expected_dice", "expected_dice_critic"), ("volume_high_ml", "volume_high_ml")):
        assert metrics[name].ravel() == pytest.approx([float(row[column]) for row in rows], rel=SIX_DIGITS)
    # the spacing is that of the images
    expected = score_case(**make_case(2), spacing=(2.0, 2, 2))[1]
    assert int(rows[7]["boundary_voxels"]) == expected["boundary_voxels"]
    assert float(rows[7]["neighbourhood_auroc_entropy"]) == pytest.approx(
        expected["neighbourhood_auroc_entropy"], rel=SIX_DIGITS
    )
    summary = json.loads((tmp_path / "reliability.json").read_text(), parse_constant=pytest.fail)
    assert summary["cases"] == 3
    assert "of islands of at least 0.5 ml, 3 of 3 false and 3 of 3 true ones are held wrong" in summary["verdict"]
    printed = capsys.readouterr().out
    assert all(line in printed for line in summary["verdict"])
    assert "Not for diagnosis." in printed
    section = reliability_section(tmp_path)
    assert section is not None
    assert "Not for diagnosis." in section.html
    assert section.html.count("<tr>") >= 5 + 8 + 3 + 3
    assert "the critic finds wrong voxels" in section.html


@pytest.mark.parametrize("without", ["confidence", "label"])
def test_without_confidence_or_truth_it_says_that_it_is_left_out(
    without: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_json(tmp_path / "reliability.json", {})  # of a former run
    metrics = run_handler(tmp_path, without=without)
    # what is expected needs no truth
    assert (metrics.keys() == set()) == (without == "confidence")
    assert "left out" in capsys.readouterr().out
    assert results_in(tmp_path) == set()
    assert reliability_section(tmp_path) is None


def test_a_persons_own_file_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    path = tmp_path / "reliability.csv"
    path.write_bytes(b"a week of work")
    run_handler(tmp_path, without="label")
    assert_not_replaced(path, lambda: run_handler(tmp_path))
    assert results_in(tmp_path) == {path.name for path in ReliabilityHandler(tmp_path).results_of([])}
