# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import numpy as np
import pytest

from scripts.evaluation.metrics.brats2021 import Brats2021
from tests.evaluation.metrics.test_scoring_rules import region


def test_a_truth_without_negatives_has_specificity_1() -> None:
    full = np.ones((2, 2, 2), dtype=bool)
    assert Brats2021(~full, full, spacing=(1, 1, 1)).specificity() == 1


def test_volumes_are_in_ml_and_lesions_counted() -> None:
    prediction, truth = np.zeros((2, 10, 10, 10), dtype=bool)
    prediction[0, 0, :5] = truth[:5, 0, 0] = truth[9, 9, 9] = True
    found = Brats2021(prediction, truth, spacing=(2, 10, 5))
    assert (found.volume_ml(), found.true_volume_ml()) == (0.5, 0.6)
    assert (found.lesions(), found.true_lesions()) == (1, 2)


def test_calibration_needs_probabilities_and_a_region() -> None:
    probabilities = np.full((10, 10, 10), 0.75)
    assert math.isnan(region("brats2021", predicted=True, true=True).calibration_error())
    assert math.isnan(region("brats2021", predicted=False, true=False, probabilities=probabilities).calibration_error())
    # all voxels lie within 10 mm of the cube; 64 of 1000 are true
    for predicted, true, wanted in ((True, True, 0.686), (False, True, 0.686), (True, False, 0.75)):
        found = region("brats2021", predicted=predicted, true=true, probabilities=probabilities)
        assert found.calibration_error() == pytest.approx(wanted)
