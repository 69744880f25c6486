# SPDX-License-Identifier: Apache-2.0
"""The segments of 3D Slicer's `.seg.nrrd`, whose names say what the values of the label map mean."""

from __future__ import annotations

import os
import re

from monai.utils import optional_import

from scripts.base.errors import BundleError, one_line
from scripts.brats import TISSUES
from scripts.data.description import tissue_named

itk, _ = optional_import("itk")
_FIELD = re.compile(r"Segment(\d+)_(Name|LabelValue|Layer)")


def read_segments(path: str) -> dict[int, int]:
    """Returns the tissue (0 for background, or a key of `TISSUES`) of each value, empty for other files.

    Raises:
        BundleError: where a segment's name is not understood, or segments overlap and lie in layers.
    """
    if not (path.lower().endswith(".seg.nrrd") and os.path.isfile(path)):
        return {}
    segments: dict[str, dict[str, str]] = {}
    for key, text in _read_header(path).items():
        if match := _FIELD.fullmatch(key):
            segments.setdefault(match[1], {})[match[2]] = text.strip()
    if len({fields.get("Layer", "0") for fields in segments.values()}) > 1:
        raise BundleError(
            f"{path}: its segments overlap, in several layers; in 3D Slicer, make them disjoint and save again, or "
            "export them as one label map"
        )
    values = {}
    for fields in segments.values():
        name, value = fields.get("Name", ""), fields.get("LabelValue", "")
        tissue = tissue_named(name)
        if tissue is None or not value.isdecimal():
            known = ", ".join(tissue.name for tissue in TISSUES.values())
            raise BundleError(
                f"{path}: segment '{one_line(name)}' of value '{one_line(value)}' is not understood; in 3D Slicer, "
                f"rename it to one of {known}"
            )
        values[int(value)] = tissue
    return values


def _read_header(path: str) -> dict[str, str]:
    try:
        header = itk.ImageIOFactory.CreateImageIO(path, itk.CommonEnums.IOFileMode_ReadMode)
        header.SetFileName(path)
        header.ReadImageInformation()
        fields = header.GetMetaDataDictionary()
        return {key: str(fields[key]) for key in fields.GetKeys() if key.startswith("Segment")}
    except (AttributeError, RuntimeError):  # a damaged file, which the checks name when they read it
        return {}
