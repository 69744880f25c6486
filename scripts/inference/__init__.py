# SPDX-License-Identifier: Apache-2.0
"""From logits to files: inferers, postprocessing, label maps, DICOM SEG, and exported networks.

What is written has the geometry of the input.
"""

import lazy_loader

# what configs name, imported when it is first used: a command starts with no more than it needs
__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "confidence": ["CriticConfidenced", "SwapConfidenced"],
        "dicom_seg": ["SaveDicomSegd"],
        "exported": ["load_exported"],
        "inferer": ["AveragingInferer", "BrainInferer"],
        "islands": ["ListIslandsd", "SaveIslandsHandler"],
        "postprocessing": ["NestRegionsd", "RegionsToLabelsd", "RemoveSmallRegionsd"],
        "writing": ["SaveVolumed"],
    },
)
