# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from scripts.base.errors import BundleError
from scripts.method.networks import VolumetricCritic
from scripts.tools.island_odds import describe, find_islands, fit_odds


def make_islands(count: int = 200) -> list[dict[str, Any]]:
    """True islands are close and confident, false ones far and less so."""
    rng = np.random.default_rng(0)
    islands = []
    for index in range(count):
        true = index % 2 == 0
        confidence = rng.normal(0.8 if true else 0.65, 0.08)
        distance = rng.exponential(8 if true else 25)
        found = {"confidence": confidence, "distance_mm": distance, "volume_ml": rng.uniform(0.1, 3)}
        islands.append({**found, "case": str(index % 20), "true_share": float(true)})
    return islands


def test_the_odds_tell_true_islands_from_false_ones_and_a_tenth_of_the_true_ones_is_below_the_threshold() -> None:
    islands = make_islands()
    fit, threshold, judged = fit_odds(islands)
    _, confidence, _, distance = fit.coef_[0]
    assert confidence > 0 > distance
    true = np.array([island["true_share"] > 0 for island in islands])
    assert roc_auc_score(true, judged) > 0.85
    assert ((judged[true] < threshold).sum(), true.sum()) == (10, 100)
    words = r"of islands of at least 0.1 ml, \d+ of 100 false and 10 of 100 true ones are held wrong"
    assert re.search(words, describe(islands, judged, threshold))
    with pytest.raises(BundleError, match="3 true and 3 false islands in 6 cases: at least 8 each"):
        fit_odds(islands[:6])


def test_islands_of_predictions_have_the_share_of_them_that_is_true(tmp_path: Path) -> None:
    label, logits = torch.zeros(3, 32, 32, 32), torch.full((3, 32, 32, 32), -6.0)
    label[1, 2:14, 2:14, 2:14] = 1
    label[1, 20:22, 20:24, 20:24] = 1
    logits[1, 2:14, 2:14, 2:14] = 6
    logits[1, 20:24, 20:24, 20:24] = 6  # half of it is true
    logits[1, 28, 28, 28] = 6  # too small
    record = {"image": torch.zeros(4, 32, 32, 32), "logits": logits, "label": label.byte()}
    torch.save(record, tmp_path / "case_1_clean.pt")
    critic = VolumetricCritic(sees="image_and_mask", starts_from_certainty=True, stride=2).eval()
    (island,) = find_islands(critic, [tmp_path / "case_1_clean.pt"], spacing=2.0)
    assert island["true_share"] == 0.5
    assert island["case"] == "case_1"
    assert island["volume_ml"] == pytest.approx(64 * 8 / 1000)
