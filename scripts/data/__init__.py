# SPDX-License-Identifier: Apache-2.0
"""From folders of scans to batches: discovery, checks, cohort, data lists, transforms, augmentation and cache.

Also the DICOM series that scans come in, and the phantoms that stand in for patients.
"""

from scripts.data.augmentation import EachModalityd, RandFieldOfViewd
from scripts.data.cached_dataset import CachedDataset, CaseDataset
from scripts.data.datalist import Cohort
from scripts.data.discovery import hash_item
from scripts.data.phantoms import make_cohort
from scripts.data.transforms import BratsLabeld, CriticConfidenced, IsolatedSpacingd, LoadScansd, ScaleBrainIntensityd

__all__ = [
    "BratsLabeld",
    "CachedDataset",
    "CaseDataset",
    "Cohort",
    "CriticConfidenced",
    "EachModalityd",
    "IsolatedSpacingd",
    "LoadScansd",
    "RandFieldOfViewd",
    "ScaleBrainIntensityd",
    "hash_item",
    "make_cohort",
]
