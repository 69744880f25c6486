# SPDX-License-Identifier: Apache-2.0
"""Writing of DICOM Segmentation objects."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.transforms import MapTransform
from monai.utils import ensure_tuple, optional_import

from scripts.base.errors import BundleError
from scripts.base.results import write_result
from scripts.brats import MODALITIES, NOT_FOR_DIAGNOSIS, TISSUES
from scripts.data.dicom_series import name_series, read_instances, read_series, to_frames

codes, _ = optional_import("pydicom.sr.codedict", name="codes")
highdicom, installed = optional_import("highdicom")
logger = logging.getLogger(__name__)

# segments 1 to 3, by value in the label map: label, and type in DICOM's context group 7159, Lesion Segmentation Types
SEGMENTS = {
    1: ("Necrotic or non-enhancing core", "Necrosis"),
    2: ("Oedema", "Edema"),
    4: ("Enhancing tumour", "EnhancingLesion"),
}
METADATA = Path(__file__).parents[2] / "configs" / "metadata.json"
# DICOM requires these tags but allows empty values; anonymisers remove the tags
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)


class SaveDicomSegd(MapTransform):
    """Writes label maps as DICOM Segmentation objects `<case>_seg.dcm`, on the voxel grid of a source series.

    The objects are binary. Segments 1 to 3 are core, oedema and enhancing tumour, and are always described. Frames
    without tumour are omitted; if there is no tumour, all frames are written, because DICOM requires at least one.

    Args:
        keys: keys of label maps (1, H, W, D) with values 0, 1, 2 and 3 or 4, in the geometry of the loaded case.
        output_dir: folder of the files.
        series_key: key of the four folders of a case's DICOM series, in the order T1, T1ce, T2, FLAIR.
        reference: series whose study, frame of reference and instances the object refers to.
        problems: receives errors by case id, each of which is logged as a warning; None raises them.
        allow_missing_keys: do not raise an error if a key is missing.

    Raises:
        BundleError: if highdicom is not installed, the reference is unknown, a case does not consist of DICOM series
            of one patient, or its reference is not a regular stack of single-frame instances on the map's voxels.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | os.PathLike[str],
        *,
        series_key: str = "series",
        reference: str = "T1ce",
        problems: dict[str, str] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        _need_highdicom()
        if reference not in MODALITIES:
            raise BundleError(f"reference_series is {reference}; allowed are {', '.join(MODALITIES)}")
        self.output_dir = Path(output_dir)
        self.series_key = series_key
        self.reference = reference
        self.problems = problems

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            try:
                labels, affine = item[key][0].cpu().numpy(), np.asarray(item[key].affine)
                content = to_dicom_seg(labels, affine, item[self.series_key], reference=self.reference)
                write_result(self.results_of([str(item["case"])])[0], content)
            except BundleError as error:
                if self.problems is None:
                    raise
                logger.warning("no DICOM SEG of case %s: %s", item["case"], error)
                self.problems[item["case"]] = str(error)
        return item

    def results_of(self, cases: Sequence[str]) -> list[Path]:
        """Returns the paths of the files of cases."""
        return [self.output_dir / f"{case}_seg.dcm" for case in cases]


def to_dicom_seg(
    labels: np.ndarray,
    affine: np.ndarray,
    series: str | Sequence[str],
    *,
    reference: str = "T1ce",
    reviewer: str | None = None,
) -> bytes:
    """Returns a label map as the file of a DICOM Segmentation object.

    Args:
        labels: label map (H, W, D) with values 0, 1, 2 and 3 or 4.
        affine: matrix (4, 4) from its voxels to millimetres, RAS.
        series: the four folders of the case's DICOM series, in the order T1, T1ce, T2, FLAIR.
        reference: series whose study, frame of reference and instances the object refers to.
        reviewer: who saved the label map; None where it is a machine's alone.

    Raises:
        BundleError: see `SaveDicomSegd`.
    """
    _need_highdicom()
    instances = read_series(_choose(series, reference))
    content = io.BytesIO()
    make_segmentation(to_frames(labels, affine, instances), instances, reviewer=reviewer).save_as(content)
    return content.getvalue()


def make_segmentation(frames: np.ndarray, instances: list[Any], *, reviewer: str | None = None) -> Any:
    """Creates a `highdicom.seg.Segmentation` from label frames (slices, rows, columns) and their sorted instances.

    With a reviewer, its segments are semiautomatic ones that he or she created.

    Raises:
        BundleError: if the instances lack tags that DICOM requires.
    """
    source = instances[0]
    for tag in _MAY_BE_EMPTY:
        source.setdefault(tag, "")
    metadata = json.loads(METADATA.read_text())
    kind = "automatic" if reviewer is None else "semiautomatic"
    try:
        return highdicom.seg.Segmentation(
            source_images=instances,
            pixel_array=np.minimum(frames, 3).astype(np.uint8),  # enhancing tumour is label 4 or 3, and segment 3
            segmentation_type="BINARY",
            segment_descriptions=_describe(metadata["name"], metadata["version"], algorithm_type=kind.upper()),
            series_instance_uid=highdicom.UID(),
            series_number=1000 + int(source.get("SeriesNumber") or 0),
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=metadata["authors"],
            manufacturer_model_name=metadata["name"],
            software_versions=metadata["version"],
            device_serial_number="none",
            content_label="BRAIN_TUMOUR",
            content_description=f"{kind.capitalize()} segmentation. {NOT_FOR_DIAGNOSIS}",
            content_creator_name=reviewer and _person_name(reviewer),
            series_description=f"Brain tumour, {kind}. {NOT_FOR_DIAGNOSIS}",
            content_qualification="RESEARCH",
            omit_empty_frames=bool(frames.any()),
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise BundleError(
            f"series {name_series(instances)}: its tags do not allow a DICOM SEG: {error}; export it again"
        ) from error


def _need_highdicom() -> None:
    if not installed:
        raise BundleError("DICOM SEG needs highdicom: pip install -r requirements-dicom.txt")


def _choose(series: str | Sequence[str], reference: str) -> str:
    folders = ensure_tuple(series)
    if len(folders) != len(MODALITIES) or not all(map(os.path.isdir, folders)):
        raise BundleError(
            f"{folders[0]}: is no folder of a DICOM series, and DICOM SEG needs four; "
            "for a NIfTI label map of any format, leave out configs/dicom_seg.yaml"
        )
    patients = {next(read_instances(folder)).get("PatientID") for folder in folders}
    if len(patients) > 1:
        place = os.path.dirname(folders[0])
        raise BundleError(f"{place}: has series of {len(patients)} patients (PatientID); keep those of one")
    return folders[MODALITIES.index(reference)]


def _person_name(name: str) -> str:
    """Returns a name as DICOM's type PN takes it: a family name of at most 64 characters, without separators."""
    return re.sub(r"[\\^=\x00-\x1f]", " ", name)[:63] + "^"


def _describe(name: str, version: str, *, algorithm_type: str) -> list[Any]:
    network = codes.cid7162.ArtificialIntelligence
    algorithm = highdicom.AlgorithmIdentificationSequence(name=name, family=network, version=version)
    return [
        highdicom.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=codes.cid7150.MorphologicallyAbnormalStructure,
            segmented_property_type=getattr(codes.cid7159, kind),
            algorithm_type=algorithm_type,
            algorithm_identification=algorithm,
            anatomic_regions=[codes.SCT.Brain],
            display_color=highdicom.color.CIELabColor.from_string(TISSUES[value].colour),
        )
        for number, (value, (label, kind)) in enumerate(SEGMENTS.items(), 1)
    ]
