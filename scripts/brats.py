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

# ---- names: what the files of a case are called, `<case>_<name>.nii.gz`; small letters stand for both, `_` for `-` too
MODALITY_NAMES: dict[str, tuple[str, ...]] = {
    # BraTS to 2021, BraTS from 2023, BIDS and MSD, others
    "T1": ("t1", "t1n", "t1w", "t1pre", "t1_pre"),
    # the same (BIDS adds the entity `ce-<agent>`), UCSF-PDGM t1c, UPENN-GBM and TCGA t1gd, LUMIERE ct1, others
    "T1ce": ("t1ce", "t1c", "t1gd", "ct1", "t1post", "t1_post", "t1_ce", "t1_gd", "t1wce", "t1km"),
    "T2": ("t2", "t2w"),
    "FLAIR": ("flair", "t2f", "t2_flair", "t2flair"),
}
# BraTS, UPENN-GBM, BIDS, UCSF-PDGM, TCGA; derived files, such as <case>_T1_bias or <case>_brain_mask, are left alone
LABEL_NAMES = ("seg", "segm", "dseg", "tumor_segmentation", "glistrboost_manuallycorrected")

# ---- layouts: how a data set numbers its label maps, value by value as one of TISSUES below
# brats2023 is told by the names t1n and t2f; BraTS-PED numbers differently from year to year; a `dataset.json` decides
Layout = Literal["brats2021", "brats2023", "brats_ped", "msd"]
LABEL_VALUES: dict[str, dict[int, int]] = {
    "brats2021": {1: 1, 2: 2, 4: 4},
    "brats2023": {1: 1, 2: 2, 3: 4},
    "msd": {1: 2, 2: 1, 3: 4},
}
# where T1, T1ce, T2 and FLAIR are among the channels of the 4D image (FLAIR, T1w, T1gd, T2w) of MSD Task01_BrainTumour
MSD_CHANNELS = [1, 2, 3, 0]


# ---- tissues: what a label map distinguishes, by the values of BraTS 2021, which this project writes
class Tissue(NamedTuple):
    """A tissue of a label map: its name and its colour on every page and plot."""

    name: str
    colour: str


# Blue, red and yellow are told apart by colour-blind people and from every grey (tests/test_brats.py); where drawn
# regions overlap, the later tissue is on top.
TISSUES = {
    2: Tissue("oedema", "#2b8cff"),
    1: Tissue("necrotic or non-enhancing core", "#ff4b2e"),
    4: Tissue("enhancing tumour", "#ffe600"),
}
TISSUE_VALUES = {TISSUES[value].name: value for value in sorted(TISSUES)}

# ---- regions: the channels of the network's output, in this order; ET lies in TC, and TC in WT
REGIONS = ("TC", "WT", "ET")
REGION_NAMES = {"TC": "Tumour core", "WT": "Whole tumour", "ET": "Enhancing tumour"}
REGION_VALUES = {"TC": (1, 4), "WT": (1, 2, 4), "ET": (4,)}
RELIABLE_WITH = {"TC": "T1ce", "WT": "FLAIR", "ET": "T1ce"}  # the modality without which a region cannot be relied on
REGION_COLOURS = {"TC": TISSUES[1].colour, "WT": TISSUES[2].colour, "ET": TISSUES[4].colour}


# ---- cases
class Item(TypedDict):
    """A case of a data set.

    Attributes:
        case: id of the case, which names its result files.
        patient: id of the patient, who may have several cases.
        layout: one of `Layout`, which tells the values of the label map.
        image: paths of four files or of four folders of DICOM files in the order of `MODALITIES`, or of one 4D file.
        missing: modalities that the case lacks, where the user allowed that; `image` then lists the others.
        label: path of the label map, where there is one.
        channels: positions of T1, T1ce, T2 and FLAIR in the 4D file, where a `dataset.json` tells them.
        values: tissue of each value of the label map, where a `dataset.json` tells them.
        fault: what is wrong with the case, where something is.
    """

    case: str
    patient: str
    layout: str
    image: list[str]
    missing: NotRequired[list[str]]
    label: NotRequired[str]
    channels: NotRequired[list[int]]
    values: NotRequired[dict[int, int]]
    fault: NotRequired[str]


# Whether each case of a data set must have a label map, may have one, or is used without.
Labels = Literal["required", "optional", "ignored"]
