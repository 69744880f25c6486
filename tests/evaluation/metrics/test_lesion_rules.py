# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest

from scripts.evaluation.metrics.lesion_rules import Brats2025
from scripts.evaluation.metrics.scoring_rules import SCORING_RULES


def test_regions_that_do_not_overlap_have_the_worst_pooled_hd95_of_2025_alone() -> None:
    masks = np.zeros((2, 10, 10, 10), dtype=bool)
    masks[0, 0], masks[1, 3] = True, True
    pooled = {name: rules(*masks, spacing=(1, 1, 1)).pooled_hd95() for name, rules in SCORING_RULES.items()}
    assert pooled == {"brats2021": 3, "brats2023": 3, "brats2025": 373, "monai": 3}


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 2.0, 3.0)])
def test_nsd_of_a_region_is_the_share_of_surface_voxels_that_both_masks_share(spacing: tuple[float, ...]) -> None:
    masks = np.zeros((2, 10, 10, 10), dtype=bool)
    masks[0, 2:4, 2:6, 2:6], masks[1, 2:4, 2:6, 2:8] = True, True
    # flat: every voxel of 2 x 4 x 4 and 2 x 4 x 6 is at the surface
    assert Brats2025(*masks, spacing=spacing).nsd() == pytest.approx((32 / 32 + 32 / 48) / 2)
