# SPDX-License-Identifier: Apache-2.0
"""From logits to files: inferers, postprocessing, label maps, DICOM SEG, and exported networks.

What is written has the geometry of the input.
"""

from scripts.inference.dicom_seg import SaveDicomSegd
from scripts.inference.exported import load_exported
from scripts.inference.inferer import AveragingInferer, BrainInferer
from scripts.inference.postprocessing import NestRegionsd, RegionsToLabelsd, RemoveSmallRegionsd
from scripts.inference.writing import SaveVolumed

__all__ = [
    "AveragingInferer",
    "BrainInferer",
    "NestRegionsd",
    "RegionsToLabelsd",
    "RemoveSmallRegionsd",
    "SaveDicomSegd",
    "SaveVolumed",
    "load_exported",
]
