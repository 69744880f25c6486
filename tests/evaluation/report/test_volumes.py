# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.evaluation.report.volumes import CaseVolumes, load_volumes, to_grey
from tests.outputs import make_outputs
from tests.tolerances import EXACT, FLOAT32

SHAPE = (14, 12, 10)


def write_case(folder: Path, affine: np.ndarray, *, layout: str = "brats2021") -> Item:
    """A case of one box of brain with labels at random, whose prediction is its truth."""
    rng = np.random.default_rng(0)
    image = np.zeros((*SHAPE, 4), np.float32)
    image[3:12, 2:9, 4:9] = rng.uniform(10, 1000, (9, 7, 5, 4))
    enhancing = 4 if layout == "brats2021" else 3
    label = (rng.choice([0, 1, 2, enhancing], SHAPE) * (image[..., 0] > 0)).astype(np.uint8)
    for channel, word in enumerate(("t1", "t1ce", "t2", "flair")):
        nib.save(nib.Nifti1Image(image[..., channel], affine), folder / f"a_{word}.nii.gz")
    nib.save(nib.Nifti1Image(label, affine), folder / "a_label.nii.gz")
    nib.save(nib.Nifti1Image(label, affine), folder / "a_seg.nii.gz")
    files = [str(folder / f"a_{word}.nii.gz") for word in ("t1", "t1ce", "t2", "flair")]
    label_map = str(folder / "a_label.nii.gz")
    return {"case": "a", "patient": "a", "layout": layout, "image": files, "label": label_map}


def places(labels: np.ndarray, affine: np.ndarray, value: int) -> np.ndarray:
    """Where in mm a label's voxels are, sorted."""
    points = nib.affines.apply_affine(affine, np.argwhere(labels == value)).round(3)
    return points[np.lexsort(points.T)]


@settings(max_examples=12, deadline=None)
@given(
    axes=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    spacing=st.tuples(*[st.sampled_from([0.5, 1.0, 3.0])] * 3),
)
def test_every_label_stays_where_it_is_in_mm_and_axes_point_right_anterior_superior(
    axes: list[int], signs: tuple[int, ...], spacing: tuple[float, ...]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, axes] * np.array(signs) * np.array(spacing)
    affine[:3, 3] = [-30, 12, 7]
    with TemporaryDirectory() as folder:
        volumes = load_volumes(write_case(Path(folder), affine), folder)
        original = np.asarray(nib.Nifti1Image.from_filename(Path(folder) / "a_seg.nii.gz").dataobj)
    assert nib.aff2axcodes(volumes.affine) == ("R", "A", "S")
    assert volumes.truth is not None
    for value in (1, 2, 4):
        expected = places(original, affine, value)
        np.testing.assert_array_equal(places(volumes.prediction, volumes.affine, value), expected)
        np.testing.assert_array_equal(places(volumes.truth, volumes.affine, value), expected)
    assert volumes.image.shape[1:] == volumes.prediction.shape
    assert all(cut <= whole for cut, whole in zip(volumes.prediction.shape, volumes.size))
    assert sorted(volumes.spacing) == pytest.approx(sorted(spacing))


def test_the_cut_keeps_the_brain_and_says_what_was_before_it(tmp_path: Path) -> None:
    volumes = load_volumes(write_case(tmp_path, np.eye(4)), tmp_path)
    assert volumes.size == SHAPE
    assert volumes.start == (1, 0, 2)
    assert volumes.prediction.shape == (13, 11, 8)
    assert volumes.confidence is None
    assert (volumes.image > 0).sum() == 4 * 9 * 7 * 5


def test_enhancing_tumour_of_brats_2023_becomes_4(tmp_path: Path) -> None:
    volumes = load_volumes(write_case(tmp_path, np.eye(4), layout="brats2023"), tmp_path)
    assert volumes.truth is not None
    assert set(np.unique(volumes.truth)) == {0, 1, 2, 4}
    np.testing.assert_array_equal(volumes.prediction, volumes.truth)


def test_confidence_is_in_per_cent_within_the_brain(tmp_path: Path) -> None:
    (item,) = make_outputs(tmp_path, cases=1)
    volumes = load_volumes(item, tmp_path / "out")
    brain = volumes.image.any(axis=0)
    assert volumes.confidence is not None
    assert not volumes.confidence[:, ~brain].any()
    assert volumes.confidence[:, brain].min() == 1
    heights = np.arange(volumes.start[2], volumes.start[2] + brain.shape[2]) / (volumes.size[2] - 1)
    for region, part in zip(volumes.confidence, (1.0, 0.5, 0.01)):
        expected = np.broadcast_to(100 * part * heights, brain.shape)[brain]
        # whole per cent, of float32
        np.testing.assert_allclose(region[brain], expected.clip(1), rtol=0, atol=0.5 + 100 * FLOAT32)
    assert load_volumes(item, tmp_path / "out", confidence=False).confidence is None


def test_a_case_without_truth_or_confidence_lacks_just_these(tmp_path: Path) -> None:
    (item,) = make_outputs(tmp_path, cases=1)
    (tmp_path / "out" / f"{item['case']}_confidence.nii.gz").unlink()
    del item["label"]
    volumes = load_volumes(item, tmp_path / "out")
    assert volumes.truth is None
    assert volumes.confidence is None
    assert volumes.prediction.any()


def test_a_label_map_that_is_missing_or_of_another_grid_is_refused(tmp_path: Path) -> None:
    item = write_case(tmp_path, np.eye(4))
    nib.save(nib.Nifti1Image(np.zeros((14, 12, 9), np.uint8), np.eye(4)), tmp_path / "a_seg.nii.gz")
    with pytest.raises(BundleError, match=r"prediction of a: found a grid \(14, 12, 9\), scans are \(14, 12, 10\)"):
        load_volumes(item, tmp_path)
    (tmp_path / "a_seg.nii.gz").unlink()
    with pytest.raises(BundleError, match=r"a_seg\.nii\.gz: not found; .*html: false"):
        load_volumes(item, tmp_path)


@pytest.mark.parametrize("levels", [16, 64, 256])
def test_grey_is_even_between_the_percentiles_and_0_outside_the_brain(levels: int) -> None:
    modality = np.zeros((10, 10, 12))
    modality[..., 1:11] = np.arange(1, 1001).reshape(10, 10, 10)
    grey = to_grey(modality, levels=levels)
    low, high = np.percentile(np.arange(1, 1001), [0.5, 99.5])
    expected = 1 + 254 * ((modality - low) / (high - low)).clip(0, 1)
    inside = modality > 0
    # rounded to levels of 254 / (levels - 2), and then to whole numbers
    np.testing.assert_allclose(grey[inside], expected[inside], rtol=0, atol=127 / (levels - 2) + 0.5 + EXACT)
    assert not grey[~inside].any()
    assert len(np.unique(grey)) == levels
    assert not to_grey(np.zeros((2, 2, 2)), levels=levels).any()


def test_the_focus_is_in_the_widest_plane_of_the_tumour_else_of_the_brain() -> None:
    image = np.zeros((4, 9, 9, 9), np.uint8)
    image[:, 1:8, 1:8, 6] = 1
    truth, prediction = np.zeros((2, 9, 9, 9), np.uint8)
    volumes = CaseVolumes("a", image, prediction, truth, None, np.eye(4), (0, 0, 0), (9, 9, 9))
    assert volumes.focus == (4, 4, 6)
    prediction[2:5, 3, 1] = 1
    assert volumes.focus == (3, 3, 1)
    truth[1, 1, 2] = 4
    assert volumes.focus == (1, 1, 2)


def test_values_and_channels_mean_what_the_data_set_says(tmp_path: Path) -> None:
    item = write_case(tmp_path, np.eye(4))
    plain = load_volumes(item, tmp_path)
    image = np.stack([np.asarray(nib.Nifti1Image.from_filename(path).dataobj) for path in item["image"]], axis=-1)
    nib.save(nib.Nifti1Image(image[..., [1, 0, 3, 2]], np.eye(4)), tmp_path / "a.nii.gz")
    described = load_volumes(
        item | {"image": [str(tmp_path / "a.nii.gz")], "channels": [1, 0, 3, 2], "values": {1: 2, 2: 1, 4: 4}}, tmp_path
    )
    np.testing.assert_array_equal(described.image, plain.image)
    assert plain.truth is not None
    np.testing.assert_array_equal(described.truth, np.array([0, 2, 1, 3, 4], np.uint8)[plain.truth])
