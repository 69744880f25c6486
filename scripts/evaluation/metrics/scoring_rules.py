# SPDX-License-Identifier: Apache-2.0
"""The scoring rules by name: which metrics a region has, and what they are where a mask is empty."""

from __future__ import annotations

from scripts.evaluation.metrics.brats2021 import Brats2021
from scripts.evaluation.metrics.lesion_rules import Brats2023, Brats2025
from scripts.evaluation.metrics.monai_rules import Monai

WITHOUT_TRUTH = ("volume_ml", "lesions")

SCORING_RULES: dict[str, type[Brats2021]] = {
    "brats2021": Brats2021,
    "brats2023": Brats2023,
    "brats2025": Brats2025,
    "monai": Monai,
}
