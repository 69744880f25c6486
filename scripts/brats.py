# SPDX-License-Identifier: Apache-2.0
"""The domain on one page: modalities, layouts of data sets, label values, regions, and what a case is.

A case is one examination of one patient: four MRI modalities on one grid, skull-stripped, background 0. A label map
gives each voxel one tissue; the network predicts three regions, which overlap.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, NotRequired, TypedDict

NOT_FOR_DIAGNOSIS = "Not for diagnosis."

# ---- modalities: the channels of the network's input, in this order
MODALITIES = ("T1", "T1ce", "T2", "FLAIR")

# ---- layouts: how a data set names the files of a case and numbers its labels
Layout = Literal["brats2021", "brats2023", "msd"]
# the word for each modality in file names, in the order of MODALITIES; MSD Task01_BrainTumour has one 4D file
MODALITY_WORDS: dict[str, tuple[str, ...]] = {
    "brats2021": ("t1", "t1ce", "t2", "flair"),
    "brats2023": ("t1n", "t1c", "t2w", "t2f"),
    "msd": ("4d",),
}
# where T1, T1ce, T2 and FLAIR are among the channels of MSD's 4D image (FLAIR, T1w, T1gd, T2w)
MSD_CHANNELS = (1, 2, 3, 0)
# the values of (necrotic or non-enhancing core, oedema, enhancing tumour) in the label maps of each layout
LABEL_VALUES: dict[str, tuple[int, int, int]] = {"brats2021": (1, 2, 4), "brats2023": (1, 2, 3), "msd": (2, 1, 3)}


# ---- tissues: what a label map distinguishes, by the values of BraTS 2021, which this project writes
class Tissue(NamedTuple):
    """A tissue of a label map: its name and its colour on every page and plot."""

    name: str
    colour: str


# the colours of the paper's Figures 1 and 4; where drawn regions overlap, the later tissue is on top
TISSUES = {
    2: Tissue("oedema", "#2ea043"),
    1: Tissue("necrotic or non-enhancing core", "#848d97"),
    4: Tissue("enhancing tumour", "#ffd33d"),
}
TISSUE_VALUES = {TISSUES[value].name: value for value in sorted(TISSUES)}

# ---- regions: the channels of the network's output, in this order; ET lies in TC, and TC in WT
REGIONS = ("TC", "WT", "ET")
REGION_NAMES = {"TC": "Tumour core", "WT": "Whole tumour", "ET": "Enhancing tumour"}
REGION_VALUES = {"TC": (1, 4), "WT": (1, 2, 4), "ET": (4,)}
REGION_COLOURS = {"TC": TISSUES[1].colour, "WT": TISSUES[2].colour, "ET": TISSUES[4].colour}


# ---- cases
class Item(TypedDict):
    """A case of a data set.

    Attributes:
        case: id of the case, which names its result files.
        patient: id of the patient, who may have several cases.
        layout: one of `Layout`.
        image: paths of four files or of four folders of DICOM files in the order of `MODALITIES`, or of one 4D file.
        label: path of the label map, where there is one.
        fault: what is wrong with the case, where something is.
    """

    case: str
    patient: str
    layout: str
    image: list[str]
    label: NotRequired[str]
    fault: NotRequired[str]


# Whether each case of a data set must have a label map, may have one, or is used without.
Labels = Literal["required", "optional", "ignored"]
