# SPDX-License-Identifier: Apache-2.0
"""From a folder of scans to batches: discovery, checks, cohort and split, data lists, transforms, augmentation, cache.

DICOM series and the phantoms that stand in for patients are here as well.
"""

import lazy_loader

# what configs name, imported when it is first used: a command starts with no more than it needs
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "augmentation": ["EachModalityd", "RandFieldOfViewd", "RandMissingModalityd", "RandModalityMixd"],
        "cached_dataset": ["CachedDataset", "CaseDataset"],
        "cohort": ["Cohort"],
        "lesion_mix": ["RandLesionMixd"],
        "missing": ["tell_missing"],
        "patches": ["RandPatchd"],
        "phantoms": ["make_cohort"],
        "transforms": ["BratsLabeld", "IsolatedSpacingd", "LoadScansd", "ScaleBrainIntensityd"],
    },
)
