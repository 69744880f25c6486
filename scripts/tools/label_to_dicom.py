# SPDX-License-Identifier: Apache-2.0
"""Makes DICOM SEG of a reviewed label map: `python -m scripts.tools.label_to_dicom LABEL CASE --reviewer NAME`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from scripts.base.errors import BundleError
from scripts.base.results import write_result
from scripts.data.discovery import find_cases
from scripts.inference.dicom_seg import to_dicom_seg


def main() -> None:
    """Reads the command line and writes the object beside the label map, as `<name>.dcm`."""
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.label_to_dicom", description=__doc__)
    parser.add_argument("label", help="label map in NIfTI, such as review/CASE_v002.nii.gz")
    parser.add_argument("case", help="folder of the case: t1, t1ce, t2 and flair with one DICOM series each")
    parser.add_argument("--reviewer", help="who saved it; without, the object says that a machine did")
    arguments = parser.parse_args()
    print(convert(arguments.label, arguments.case, reviewer=arguments.reviewer))


def convert(label: str, case: str, *, reviewer: str | None = None) -> Path:
    """Writes a label map as DICOM SEG, and returns the file.

    Raises:
        BundleError: where the label map cannot be read, `case` is not one case, or see `to_dicom_seg`.
    """
    items = find_cases(case, labels="ignored")
    if len(items) != 1:
        raise BundleError(f"{case}: holds {len(items)} cases; give the folder of one")
    if fault := items[0].get("fault"):
        raise BundleError(fault)
    try:
        image: Any = nib.load(label)
        labels = np.asarray(image.dataobj)
    except (OSError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise BundleError(f"{label}: cannot be read ({type(error).__name__}); give a label map in NIfTI") from error
    name = Path(label).name.removesuffix(".gz").removesuffix(".nii")
    place = Path(label).with_name(f"{name}.dcm")
    write_result(place, to_dicom_seg(labels, image.affine, items[0]["image"], reviewer=reviewer))
    return place


if __name__ == "__main__":
    try:
        main()
    except BundleError as error:
        sys.exit(f"error: {error}")
