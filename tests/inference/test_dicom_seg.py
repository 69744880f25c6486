# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.data import MetaTensor
from scipy.spatial import KDTree

from scripts.base.errors import BundleError
from scripts.brats import TISSUES
from scripts.data.phantoms import make_cohort
from scripts.data.transforms import LoadScansd
from scripts.inference.dicom_seg import SaveDicomSegd, to_dicom_seg
from tests.dicom_builder import OBLIQUE, Grid, save_case
from tests.outputs import assert_not_replaced
from tests.test_workflows import BUNDLE, assert_clear_error, run_bundle, voxels

highdicom = pytest.importorskip("highdicom", reason="highdicom is not installed: requirements-dicom.txt")
pydicom = pytest.importorskip("pydicom")

CONFIGS = "['configs/inference.yaml','configs/dicom_seg.yaml']"
SHAPE = (5, 6, 8)
LABELS = np.random.default_rng(0).choice([0, 1, 2, 4], SHAPE, p=[0.4, 0.2, 0.2, 0.2])
LABELS[1] = 0  # a frame without tumour
LABELS[:: SHAPE[0] - 1, :: SHAPE[1] - 1, :: SHAPE[2] - 1] = 0  # the corners, by which background is known
GRIDS = {
    "axial": Grid(),
    "axial, downwards": Grid(upwards=False),
    "sagittal": Grid((0.0, 1.0, 0.0, 0.0, 0.0, -1.0)),
    "oblique": Grid(OBLIQUE),
    "oblique, against its normal": Grid(OBLIQUE, upwards=False),
}


def load(folder: Path, labels: np.ndarray, grid: Grid, **tags: Any) -> dict[Hashable, Any]:
    """Writes a case whose T1ce shows the labels, loads it, and takes them from there: voxels that no affine placed."""
    scans = np.stack([labels * number for number in (7, 1, 8, 9)])
    series = save_case(folder / "case1", scans, grid, **tags)
    item = LoadScansd("image")({"image": series})
    return item | {"pred": item["image"][1:2].to("cpu"), "series": series}


def save(item: dict[Hashable, Any], folder: Path, **arguments: Any) -> Any:
    SaveDicomSegd("pred", folder, **arguments)(item)
    return pydicom.dcmread(folder / f"{item['case']}_seg.dcm")


def points_of(segmentation: Any) -> dict[int, set[tuple[float, ...]]]:
    """The centres of each segment's pixels, rounded, LPS mm, by the tags of its frames alone."""
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    spacing = shared.PixelMeasuresSequence[0].PixelSpacing
    row, column = np.reshape(shared.PlaneOrientationSequence[0].ImageOrientationPatient, (2, 3)).astype(float)
    found = defaultdict(set)
    pixels = segmentation.pixel_array.reshape(-1, segmentation.Rows, segmentation.Columns)
    for frame, groups in zip(pixels, segmentation.PerFrameFunctionalGroupsSequence):
        start = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        for down, across in np.argwhere(frame):
            point = start + down * spacing[0] * column + across * spacing[1] * row
            number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
            found[number].add(tuple(np.round(point, 2) + 0.0))
    return found


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_every_voxel_comes_back_at_its_place(grid: Grid, tmp_path: Path) -> None:
    item = load(tmp_path, LABELS, grid)
    expected = {number: grid.points_of(np.equal(LABELS, value)) for number, value in enumerate((1, 2, 4), 1)}
    assert points_of(save(item, tmp_path)) == expected


def test_a_persons_own_object_is_not_replaced(tmp_path: Path) -> None:
    item = load(tmp_path, LABELS, GRIDS["axial"])
    path = tmp_path / "out" / "case1_seg.dcm"
    assert SaveDicomSegd("pred", path.parent).results_of(["case1"]) == [path]
    assert_not_replaced(path, lambda: save(item, path.parent))


def test_frames_refer_to_the_instances_they_were_drawn_on(tmp_path: Path) -> None:
    item = load(tmp_path, LABELS, GRIDS["oblique"])
    save(item, tmp_path)
    segmentation = highdicom.seg.segread(tmp_path / "case1_seg.dcm")
    found = segmentation.get_pixels_by_source_instance(
        [f"1.2.3.4.2.{index + 1}" for index in range(len(LABELS))],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(found, np.minimum(LABELS, 3))


def test_study_and_patient_are_the_source_s(tmp_path: Path) -> None:
    item = load(tmp_path, LABELS, Grid())
    segmentation, source = save(item, tmp_path), pydicom.dcmread(Path(item["series"][1]) / "000.dcm")
    for tag in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate"):
        assert segmentation[tag].value == source[tag].value
    assert segmentation.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert segmentation.SeriesInstanceUID != source.SeriesInstanceUID
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    assert segmentation.SeriesNumber == 1002
    assert save(item, tmp_path, reference="FLAIR").ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4.4"


def test_segments_say_what_they_are_and_who_drew_them(tmp_path: Path) -> None:
    segmentation = save(load(tmp_path, LABELS, Grid()), tmp_path)
    assert (segmentation.Modality, segmentation.SegmentationType, segmentation.ContentQualification) == (
        "SEG",
        "BINARY",
        "RESEARCH",
    )
    assert "Not for diagnosis." in segmentation.ContentDescription
    assert "Not for diagnosis." in segmentation.SeriesDescription
    metadata = json.loads((BUNDLE / "configs" / "metadata.json").read_text())
    # SNOMED CT's and NCI's codes, as DICOM PS3.16 has them in CID 7159; colours of the label map's legend
    codes = [("6574001", "SCT"), ("79654002", "SCT"), ("C113842", "NCIt")]
    colours = [[int(TISSUES[value].colour[i : i + 2], 16) for i in (1, 3, 5)] for value in (1, 2, 4)]
    segments = segmentation.SegmentSequence
    for number, (segment, code, colour) in enumerate(zip(segments, codes, colours, strict=True), 1):
        assert segment.SegmentNumber == number
        kind = segment.SegmentedPropertyTypeCodeSequence[0]
        assert (kind.CodeValue, kind.CodingSchemeDesignator) == code
        assert segment.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
        assert segment.SegmentAlgorithmType == "AUTOMATIC"
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (metadata["name"], metadata["version"])
        shown = highdicom.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue).to_rgb()
        np.testing.assert_array_equal(shown, colour)


def test_what_a_person_saved_says_so(tmp_path: Path) -> None:
    item = load(tmp_path, LABELS, Grid())
    labels, affine = item["pred"][0].numpy(), np.asarray(item["pred"].affine)
    content = to_dicom_seg(labels, affine, item["series"], reviewer=r"Dr. A=\^" + 80 * "x")
    segmentation = pydicom.dcmread(io.BytesIO(content))
    assert {segment.SegmentAlgorithmType for segment in segmentation.SegmentSequence} == {"SEMIAUTOMATIC"}
    assert str(segmentation.ContentCreatorName).startswith("Dr. A   xxx")
    assert "semiautomatic" in segmentation.SeriesDescription
    assert points_of(segmentation) == points_of(save(item, tmp_path))


def test_enhancing_tumour_of_3_is_the_same_segment(tmp_path: Path) -> None:
    old = points_of(save(load(tmp_path / "old", LABELS, Grid()), tmp_path))
    assert points_of(save(load(tmp_path / "new", np.minimum(LABELS, 3), Grid()), tmp_path)) == old


@pytest.mark.parametrize("kept", [0, 2])
def test_segments_that_were_not_found_are_described_without_voxels(kept: int, tmp_path: Path) -> None:
    labels = np.where(kept == LABELS, LABELS, 0)
    segmentation = save(load(tmp_path, labels, Grid()), tmp_path)
    assert len(segmentation.SegmentSequence) == 3
    # a frame that has the segment; or, where there is none at all, every frame of every segment
    assert segmentation.NumberOfFrames == (4 if kept else 3 * len(LABELS))
    assert points_of(segmentation) == ({2: Grid().points_of(labels == 2)} if kept else {})


def spoil(item: dict[Hashable, Any], index: int, **tags: Any) -> None:
    """Sets tags of a series' instances, or takes them away."""
    for file in Path(item["series"][index]).iterdir():
        instance = pydicom.dcmread(file)
        for tag, value in tags.items():
            instance.pop(tag) if value is None else setattr(instance, tag, value)
        instance.save_as(file)


def test_tags_that_anonymisers_remove_may_be_missing(tmp_path: Path) -> None:
    item = load(tmp_path, LABELS, Grid())
    tags = ("PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate", "StudyTime")
    spoil(item, 1, **dict.fromkeys(tags))
    assert save(item, tmp_path).PatientBirthDate in ("", None)


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = load(tmp_path, LABELS, Grid())
    transform = SaveDicomSegd("pred", tmp_path)
    with pytest.raises(BundleError, match=r"t1\.nii\.gz: is no folder.*leave out configs/dicom_seg\.yaml"):
        transform(item | {"series": [str(tmp_path / "t1.nii.gz")] * 4})
    with pytest.raises(BundleError, match="beside the label map"):
        transform(item | {"pred": MetaTensor(item["pred"].as_tensor(), affine=2 * item["pred"].affine)})
    spoil(item, 3, PatientID="another")
    with pytest.raises(BundleError, match="has series of 2 patients"):
        transform(item)
    spoil(item, 3, PatientID="phantom-1")
    spoil(item, 1, StudyInstanceUID=None)
    with pytest.raises(BundleError, match=r"scan 2: its tags do not allow a DICOM SEG.*StudyInstanceUID"):
        transform(item)
    assert not list(tmp_path.glob("*.dcm"))
    with pytest.raises(BundleError, match="reference_series is T3; allowed are T1, T1ce"):
        SaveDicomSegd("pred", tmp_path, reference="T3")
    monkeypatch.setattr("scripts.inference.dicom_seg.installed", False)
    with pytest.raises(BundleError, match=r"pip install -r requirements-dicom\.txt"):
        SaveDicomSegd("pred", tmp_path)


def test_a_fault_is_kept_for_the_end_of_the_run(tmp_path: Path) -> None:
    problems: dict[str, str] = {}
    series = ["a.nii", "b.nii"]
    item: dict[Hashable, Any] = {"pred": MetaTensor(np.zeros((1, 2, 2, 2))), "case": "case3", "series": series}
    SaveDicomSegd("pred", tmp_path, problems=problems)(item)
    assert "is no folder of a DICOM series" in problems["case3"]


def test_by_the_bundle_s_own_command(tmp_path: Path) -> None:
    """The segmentation has the voxels of the NIfTI label map; a case of NIfTI files is reported at the end."""
    cohort = Path(make_cohort(tmp_path / "phantoms", cases=1, shape=(48, 48, 40)))
    (folder,) = [place for place in cohort.iterdir() if place.is_dir()]
    scans = [voxels(folder / f"{folder.name}_{name}.nii.gz") for name in ("t1", "t1ce", "t2", "flair")]
    grid = Grid(OBLIQUE, spacing=(4.0, 4.0, 4.0))
    save_case(tmp_path / "data" / "case1", np.stack(scans).transpose(0, 3, 2, 1), grid)
    folder.rename(tmp_path / "data" / "case2")
    places = {"dataset_dir": tmp_path / "data", "output_dir": tmp_path / "out", "cache_dir": tmp_path / "cache"}
    result = run_bundle("inferring", CONFIGS, **places, reference_series="T2")
    assert_clear_error(result, "cases left out: 1", folder.name, "is no folder of a DICOM series")
    assert [file.name for file in (tmp_path / "out").glob("*.dcm")] == ["case1_seg.dcm"]
    assert len(list((tmp_path / "out").glob("*_seg.nii.gz"))) == 2
    segmentation = pydicom.dcmread(tmp_path / "out" / "case1_seg.dcm")
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3.4.3"
    nifti = nib.Nifti1Image.from_filename(tmp_path / "out" / "case1_seg.nii.gz")
    labels = np.asarray(nifti.dataobj)
    assert (labels > 0).sum() > 20
    for number, value in enumerate((1, 2, 4), 1):
        points = nib.affines.apply_affine(nifti.affine, np.argwhere(labels == value)) * [-1, -1, 1]
        found = points_of(segmentation)[number]
        assert len(found) == len(points) > 0
        assert KDTree(list(found)).query(points)[0].max() < 0.01  # rounded to 0.01 mm: off by 0.005 * sqrt(3) at most
