# SPDX-License-Identifier: Apache-2.0
"""Label maps that clients send: only voxels that were understood beyond doubt pass."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip
from monai.transforms import LoadImage

from scripts.base.errors import BundleError
from scripts.brats import LABEL_VALUES, TISSUE_VALUES, Item
from scripts.data.headers import AFFINE_TOLERANCE
from scripts.label_app.volumes import brain_of, from_viewer, grid_of, viewer_grid

MAX_IN_AIR = 0.2  # of a label's voxels: it is of another patient, or lies elsewhere
_HEADER = 352  # bytes of a NIfTI-1 header without extension
_FINE = 1e-4  # the page sends back the affine that it was given, in float32


def read_drawing(content: bytes, *, case: str, reference: Path) -> np.ndarray:
    """Reads what the review page sends: a NIfTI-1 file of uint8 with 352 bytes of header, on the grid it was given.

    Args:
        content: the file.
        case: for whom it is sent. The header's `intent_name` must be `mark_of(case)`.
        reference: a scan of the case.

    Returns:
        The label map (H, W, D) of the values of `TISSUE_VALUES`, uint8.

    Raises:
        BundleError: when size, header, grid, case or a value is not what it must be.
    """
    shape, affine = viewer_grid(reference)
    if len(content) != _HEADER + int(np.prod(shape)):
        raise BundleError(f"the drawing has {len(content)} bytes, and its case needs {_HEADER + int(np.prod(shape))}")
    header = nib.Nifti1Header(content[:348], endianness="<", check=False)
    known = {"sizeof_hdr": 348, "datatype": 2, "bitpix": 8, "vox_offset": _HEADER, "sform_code": 1}
    odd = [name for name, value in known.items() if header[name].item() != value]
    if odd or header["dim"].tolist() != [3, *shape, 1, 1, 1, 1] or any(content[348:_HEADER]):
        raise BundleError(f"the drawing's header is not the review page's ({', '.join(odd) or 'dim'}); reload the page")
    if header["intent_name"].item().decode("ascii", "replace") != mark_of(case):
        raise BundleError(f"the drawing was made on another case than {case}; open {case} again")
    if not np.allclose(header.get_sform(), affine, rtol=_FINE, atol=_FINE):
        raise BundleError(f"the drawing does not lie on the grid of {reference.name}; open the case again")
    labels = np.frombuffer(content, np.uint8, offset=_HEADER).reshape(shape, order="F")
    _check_values(np.unique(labels).tolist(), set(TISSUE_VALUES.values()))
    return from_viewer(labels, grid_of(reference)[1])


def mark_of(case: str) -> str:
    """Returns the mark that a drawing of a case carries: the case's CRC-32, for an id may be longer than the field."""
    return f"case {zlib.crc32(case.encode()):08x}"


def read_label(path: str, *, item: Item, reference: Path, names: Mapping[int, str] | None = None) -> np.ndarray:
    """Reads a label map that any other client sends, in any format of NiBabel or ITK.

    Args:
        path: of the file.
        item: the case.
        reference: a scan of the case (NIfTI), on whose grid the label must lie.
        names: tissue of each value in the file, because 3D Slicer renumbers segments. None for `TISSUE_VALUES`, where
            enhancing tumour may also be 3 if the case is laid out as BraTS 2023.

    Returns:
        The label map (H, W, D) of the values of `TISSUE_VALUES`, uint8.

    Raises:
        BundleError: when it cannot be read in full, lies on another grid or in air, or has values or names that mean
            nothing here.
    """
    try:
        if path.endswith((".nii", ".nii.gz")):
            _check_size(Path(path))
        label = LoadImage(image_only=True, ensure_channel_first=True)(path)
    except BundleError:
        raise
    except Exception as error:  # damaged bytes make readers raise about anything
        raise BundleError(f"the label cannot be read ({type(error).__name__}); send it again") from error
    shape, affine = grid_of(reference)
    if label.shape != (1, *shape) or not np.allclose(label.affine, affine, rtol=0, atol=AFFINE_TOLERANCE):
        raise BundleError(
            f"the label lies on a grid of {tuple(label.shape)} voxels that is not that of "
            f"{reference.name}, {shape}; export it with the scan as reference"
        )
    found = label[0].numpy()
    meaning = _meaning(item, np.unique(found), names)
    labels = np.zeros(shape, np.uint8)
    for value, tissue in meaning.items():
        labels[found == value] = tissue
    drawn = labels > 0
    if drawn.any() and (in_air := float((drawn & ~brain_of(item)).sum() / drawn.sum())) > MAX_IN_AIR:
        raise BundleError(
            f"{in_air:.0%} of the label lies outside the brain of {item['case']}; it seems to be of another case"
        )
    return labels


def _meaning(item: Item, values: np.ndarray, names: Mapping[int, str] | None) -> dict[float, int]:
    if names is None:
        known = {value: value for value in TISSUE_VALUES.values()}
        if item["layout"] == "brats2023" and 4 not in values:
            known = dict(zip(LABEL_VALUES["brats2023"], LABEL_VALUES["brats2021"]))
    else:
        known = {value: TISSUE_VALUES[name] for value, name in names.items() if name in TISSUE_VALUES}
    named = names or {}
    _check_values(values.tolist(), set(known), named=named)
    return {value: known[value] for value in values.tolist() if value}


def _check_values(values: list[float], allowed: set[int], *, named: Mapping[int, str] | None = None) -> None:
    for value in values:
        if value and value not in allowed:
            known = ", ".join(f"{number} {name}" for name, number in TISSUE_VALUES.items())
            called = f" ({(named or {}).get(int(value), 'without a name')})"
            raise BundleError(f"the label has {value:g}{called}; allowed are {known}")


def _check_size(path: Path) -> None:
    """Refuses a NIfTI file that is longer or shorter than its header says: voxels would be read from a wrong place.

    NiiVue, for one, may write a header's extension and leave `vox_offset` at 352.
    """
    image: Any = nib.load(path)
    offset, size = int(image.dataobj.offset), int(np.prod(image.shape)) * image.get_data_dtype().itemsize
    opened = igzip.open(path, "rb") if path.name.endswith(".gz") else path.open("rb")
    with opened as file:
        content = file.read(offset + size + 1)
    if len(content) != offset + size:
        found = f"{len(content)} bytes" if len(content) < offset + size else "more bytes"
        raise BundleError(f"the label has {found}, and its header says {offset + size}; export it again")
