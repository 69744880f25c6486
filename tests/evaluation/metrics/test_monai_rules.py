# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.metrics import ConfusionMatrixMetric, DiceMetric, HausdorffDistanceMetric, Metric, SurfaceDiceMetric

from scripts.evaluation.metrics.monai_rules import Monai
from tests.masks import needs_real_cases, real_pairs
from tests.tolerances import FLOAT32


def test_a_truth_without_negatives_has_no_specificity() -> None:
    full = np.ones((2, 2, 2), dtype=bool)
    assert math.isnan(Monai(~full, full, spacing=(1, 1, 1)).specificity())


@needs_real_cases
@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("dice", DiceMetric),
        ("hd95", lambda: HausdorffDistanceMetric(include_background=True, percentile=95)),
        ("sensitivity", lambda: ConfusionMatrixMetric(metric_name="sensitivity", compute_sample=True)),
        ("specificity", lambda: ConfusionMatrixMetric(metric_name="specificity", compute_sample=True)),
        ("surface_dice", lambda: SurfaceDiceMetric([1.0] * 3, include_background=True)),
    ],
)
def test_monai_is_what_monai_gives_for_the_whole_volume(name: str, metric: Callable[[], Metric]) -> None:
    spacing = (1.1, 0.9, 0.7)
    keywords = {"spacing": spacing} if name in ("hd95", "surface_dice") else {}
    found, wanted = [], []
    for prediction, truth in list(real_pairs())[:27]:
        found.append([getattr(Monai(p, t, spacing=spacing), name)() for p, t in zip(prediction, truth)])
        pair = (torch.from_numpy(mask.copy()).float()[None] for mask in (prediction, truth))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = metric()(*pair, **keywords)
        if isinstance(metric(), ConfusionMatrixMetric):
            tp, fp, tn, fn = values.double().unbind(-1)
            values = tp / (tp + fn) if name == "sensitivity" else tn / (tn + fp)
        wanted.append(values[0].tolist())
    np.testing.assert_allclose(found, wanted, rtol=FLOAT32)
    assert name == "specificity" or np.isnan(found).any()
