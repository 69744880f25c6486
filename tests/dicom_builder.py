# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from monai.utils import optional_import

pydicom, installed = optional_import("pydicom")
MR = "1.2.840.10008.5.1.4.1.1.4"
OBLIQUE = (0.9396926, 0.3420201, 0.0, -0.2961981, 0.8137977, 0.5)  # turned about z, then about the row


@dataclass
class Grid:
    """Where the pixels of a series are: frames (slices, rows, columns) in DICOM's patient coordinates, LPS mm."""

    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # of a row, and of a column
    origin: tuple[float, ...] = (-20.0, 30.0, -7.5)
    spacing: tuple[float, ...] = (3.0, 1.25, 0.75)  # between slices, rows, columns
    upwards: bool = True  # the slices go along the normal, or against it
    slices: dict[int, float] = field(default_factory=dict)  # those that lie at another multiple of the spacing

    def places(self, frame: int, rows: Any = 0, columns: Any = 0) -> np.ndarray:
        """Gives the centres (..., 3) of pixels of a frame."""
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        normal = np.cross(row, column) * (1 if self.upwards else -1)
        start = np.array(self.origin) + self.slices.get(frame, frame) * self.spacing[0] * normal
        down, across = np.asarray(rows)[..., None] * self.spacing[1], np.asarray(columns)[..., None] * self.spacing[2]
        return start + down * column + across * row

    def points_of(self, chosen: np.ndarray) -> set[tuple[float, ...]]:
        """Gives the centres, rounded, of the pixels that a mask (slices, rows, columns) chooses."""
        return {tuple(np.round(self.places(*index), 2) + 0.0) for index in np.argwhere(chosen)}


def make_instances(voxels: np.ndarray, grid: Grid, series: int = 1, **tags: Any) -> list[Any]:
    """Gives a series of MR instances, one for each frame of integers (slices, rows, columns)."""
    instances = []
    for index, pixels in enumerate(np.ascontiguousarray(voxels.astype(np.int16))):
        instance = pydicom.Dataset()
        instance.file_meta = pydicom.dataset.FileMetaDataset()
        instance.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        instance.file_meta.MediaStorageSOPClassUID = instance.SOPClassUID = MR
        instance.file_meta.MediaStorageSOPInstanceUID = instance.SOPInstanceUID = f"1.2.3.4.{series}.{index + 1}"
        instance.SpecificCharacterSet = "ISO_IR 100"
        instance.StudyInstanceUID, instance.SeriesInstanceUID = "1.2.3.4", f"1.2.3.4.{series}"
        instance.FrameOfReferenceUID, instance.Modality = "1.2.3.5", "MR"
        instance.PatientID, instance.PatientName, instance.PatientSex = "phantom-1", "Müller^Phantom", "O"
        instance.PatientBirthDate, instance.StudyDate, instance.StudyTime = "19700101", "20260102", "101112"
        instance.AccessionNumber, instance.StudyID, instance.ReferringPhysicianName = "A7", "7", ""
        instance.SeriesNumber, instance.InstanceNumber, instance.SeriesDescription = series, index + 1, f"scan {series}"
        instance.ImagePositionPatient = [f"{value:.6f}" for value in grid.places(index)]
        instance.ImageOrientationPatient = [f"{value:.7f}" for value in grid.orientation]
        instance.PixelSpacing, instance.SliceThickness = list(grid.spacing[1:]), grid.spacing[0]
        instance.Rows, instance.Columns = pixels.shape
        instance.SamplesPerPixel, instance.PhotometricInterpretation = 1, "MONOCHROME2"
        instance.BitsAllocated, instance.BitsStored, instance.HighBit, instance.PixelRepresentation = 16, 16, 15, 1
        instance.PixelData = pixels.tobytes()
        for name, value in tags.items():
            setattr(instance, name, value)
        instances.append(instance)
    return instances


def save_instances(folder: Path, instances: list[Any], *, names: list[int] | None = None) -> str:
    """Writes a series; `names` number the files, which the first instance's need not be the first of."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, instance in zip(names or range(len(instances)), instances):
        instance.save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return str(folder)


def save_case(folder: Path, scans: np.ndarray, grid: Grid, **tags: Any) -> list[str]:
    """Writes scans (4, slices, rows, columns) as folders t1, t1ce, t2 and flair, files against the slices' order."""
    return [
        save_instances(folder / name, make_instances(scan, grid, series, **tags), names=list(range(len(scan)))[::-1])
        for series, (name, scan) in enumerate(zip(("t1", "t1ce", "t2", "flair"), scans), 1)
    ]
