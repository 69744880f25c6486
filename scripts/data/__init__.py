# SPDX-License-Identifier: Apache-2.0
"""From folders of scans to batches: discovery, checks, cohort, data lists, transforms, augmentation and cache.

Also the DICOM series that scans come in, and the phantoms that stand in for patients.
"""

import lazy_loader

# what configs name, imported when it is first used: a command starts with no more than it needs
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "augmentation": ["EachModalityd", "RandFieldOfViewd"],
        "cached_dataset": ["CachedDataset", "CaseDataset"],
        "datalist": ["Cohort"],
        "discovery": ["hash_item"],
        "phantoms": ["make_cohort"],
        "transforms": ["BratsLabeld", "CriticConfidenced", "IsolatedSpacingd", "LoadScansd", "ScaleBrainIntensityd"],
    },
)
