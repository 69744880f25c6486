# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from scripts.brats import NOT_FOR_DIAGNOSIS
from scripts.inference.islands import DOUBTED, ODDS, ListIslandsd, SaveIslandsHandler
from tests.outputs import assert_not_replaced


def make_item() -> dict[Hashable, Any]:
    """A whole tumour of 216 voxels of 8 mm^3, an island of 27 that is doubted and one of 8 that is trusted."""
    regions = torch.zeros(3, 20, 20, 20)
    regions[1, 2:8, 2:8, 2:8] = 1
    regions[1, 12:15, 12:15, 12:15] = 1
    regions[1, 2:4, 16:18, 2:4] = 1
    confidence = torch.full((3, 20, 20, 20), 0.9)
    confidence[:, 12:15, 12:15, 12:15] = 0.18
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    return {"case": "a", "pred": MetaTensor(regions, affine=torch.as_tensor(affine)), "confidence": confidence}


def test_islands_are_listed_with_size_place_and_probability_and_stay() -> None:
    item = make_item()
    result = ListIslandsd("pred")(item)
    assert torch.equal(result["pred"], item["pred"])
    trusted, doubted = sorted(result["islands"], key=lambda island: island["volume_ml"])
    # five voxels of 2 mm beyond the tumour along each axis
    distance = 10 * math.sqrt(3)
    a, b, c, d = ODDS
    odds = a + b * math.log(0.18 / 0.82) + c * math.log(0.216) + d * math.log(1 + distance)
    place = {"region": "WT", "volume_ml": 0.216, "centre_mm": [-26, 26, 26], "confidence": 0.18}
    assert doubted == place | {
        "distance_mm": pytest.approx(distance, abs=0.0005),  # three decimals
        "probability": pytest.approx(1 / (1 + math.exp(-odds)), abs=0.0005),  # three decimals
    }
    assert trusted["volume_ml"] == pytest.approx(0.064)
    assert trusted["probability"] > DOUBTED > doubted["probability"]


def test_with_a_truth_each_island_has_its_true_share() -> None:
    truth = torch.zeros(3, 20, 20, 20)
    truth[1, 12:15, 12:15, 12] = 1  # a third of the doubted island
    result = ListIslandsd("pred")(make_item() | {"label": truth})
    assert {island["volume_ml"]: island["true_share"] for island in result["islands"]} == {0.216: 0.333, 0.064: 0}


def test_the_islands_of_a_case_are_written(tmp_path: Path) -> None:
    islands = ListIslandsd("pred")(make_item())["islands"]
    state = SimpleNamespace(batch=[{"case": "a"}], output=[{"islands": islands}])
    engine: Any = SimpleNamespace(state=state)
    SaveIslandsHandler(tmp_path)(engine)
    record = json.loads((tmp_path / "a_islands.json").read_text())
    assert record == {"note": NOT_FOR_DIAGNOSIS, "islands": islands}


def test_a_persons_own_list_is_not_replaced(tmp_path: Path) -> None:
    state = SimpleNamespace(batch=[{"case": "a"}], output=[{"islands": []}])
    engine: Any = SimpleNamespace(state=state)
    handler = SaveIslandsHandler(tmp_path)
    assert handler.results_of(["a"]) == [tmp_path / "a_islands.json"]
    assert_not_replaced(tmp_path / "a_islands.json", lambda: handler(engine))


def test_only_islands_that_are_held_wrong_are_removed() -> None:
    item = make_item()
    result = ListIslandsd("pred", remove_doubted=True)(item)
    lost = item["pred"] - result["pred"]
    assert lost.sum() == 27
    assert lost[1, 12:15, 12:15, 12:15].all()
    assert len(result["islands"]) == 2


def test_the_largest_component_stays_however_much_it_is_doubted() -> None:
    item = make_item()
    item["confidence"][:] = 0.1
    result = ListIslandsd("pred", remove_doubted=True)(item)
    assert result["pred"].sum() == 216
