# SPDX-License-Identifier: Apache-2.0
"""Each step from a case's voxels to the network's input, compared with Python's."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import CropForeground, Spacing
from scipy import ndimage

from scripts.base.errors import BundleError
from scripts.brats import MODALITIES
from scripts.data.background import check_skull, find_background, share_outline
from scripts.data.oddities import warn_of_oddities, warn_once
from scripts.data.phantoms import make_cohort, make_phantom
from scripts.data.transforms import ScaleBrainIntensityd
from tests.browser.served import RefusedError, as_file, call, volume
from tests.data.test_background import ALTERED, with_skull
from tests.label_app.test_uploads import ORIENTATIONS, affine_of
from tests.tolerances import EXACT, FLOAT32

SHAPE = (9, 7, 8)
SCANS, _ = make_phantom(3, shape=(48, 48, 40))
# what inference.yaml does before the network; the page does the same in prepare.js
STEPS = [
    *("scripts.data.LoadScansd", "Orientationd", "scripts.data.ScaleBrainIntensityd", "CropForegroundd"),
    "scripts.data.IsolatedSpacingd",
]


def of(voxels: np.ndarray) -> dict[str, Any]:
    return {"voxels": volume(voxels), "shape": list(voxels.shape)}


def unflat(voxels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return voxels.reshape(shape, order="F")


def affines(count: int) -> list[np.ndarray]:
    """Random affines: any axes, sizes from 0.6 to 5 mm, some of them sheared."""
    rng = np.random.default_rng(0)
    found = []
    for index in range(count):
        turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        axes = turn @ np.diag(rng.uniform(0.6, 5, 3))
        if index % 3 == 0:
            axes = axes @ (np.eye(3) + np.triu(rng.uniform(-0.1, 0.1, (3, 3)), 1))
        found.append(nib.affines.from_matvec(axes, rng.uniform(-50, 50, 3)))
    return found


def test_the_commands_prepare_a_case_by_the_steps_that_the_page_knows(config: ConfigParser) -> None:
    transforms = config["image_preprocessing"]["transforms"]
    assert [transform["_target_"] for transform in transforms] == STEPS


@pytest.mark.parametrize("tilt", ["straight", "oblique"])
def test_volumes_are_turned_as_nibabel_turns_them(steps: Any, tilt: str) -> None:
    voxels = np.random.default_rng(0).random(SHAPE, np.float32)
    for axes in ORIENTATIONS:
        affine = affine_of(axes, tilt, SHAPE)
        expected = nib.as_closest_canonical(nib.Nifti1Image(voxels, affine))
        turned = call(steps, "steps/orientation.js", "toRas", {"shape": SHAPE, "affine": affine})
        assert turned["shape"] == list(expected.shape)
        np.testing.assert_allclose(turned["affine"], expected.affine, rtol=0, atol=EXACT)
        found = call(steps, "steps/orientation.js", "turn", volume(voxels), turned)
        np.testing.assert_array_equal(unflat(found, expected.shape), expected.get_fdata().astype(np.float32))
        box = {"start": [0, 0, 0], "size": turned["shape"]}
        back = call(steps, "steps/orientation.js", "turnBack", found, box, turned, np.zeros(found.size, np.float32))
        np.testing.assert_array_equal(back, volume(voxels))


def test_axes_are_those_of_nibabel_for_any_affine(steps: Any) -> None:
    for affine in affines(60):
        codes = call(steps, "steps/orientation.js", "codesOf", affine)
        assert codes == "".join(nib.aff2axcodes(affine)), affine


@pytest.mark.parametrize("name", ALTERED)
def test_backgrounds_are_found_as_in_python(steps: Any, name: str) -> None:
    scans = [np.asarray(ALTERED[name](scan), np.float32) for scan in SCANS]
    expected = [find_background(scan) for scan in scans]
    found = [call(steps, "steps/background.js", "findBackground", of(scan)) for scan in scans]
    assert [one["found"] for one in found] == [one.found for one in expected]
    masks = call(steps, "steps/ringing.js", "shareOutline", found, scans[0].shape)
    for mask, background in zip(masks, share_outline(expected)):
        np.testing.assert_array_equal(unflat(mask, background.mask.shape), background.mask)


def test_heads_are_told_from_brains_in_the_words_of_the_commands(steps: Any) -> None:
    noise = np.random.default_rng(0).random((20, 20, 20), np.float32)
    heads = [with_skull(SCANS[0], air=0.0), with_skull(SCANS[3], air=0.02), noise, np.ones((30, 30, 30), np.float32)]
    for scan in (*heads, *SCANS.astype(np.float32)):
        for spacing in ((5.0, 5.0, 5.0), (2.0, 3.0, 4.0)):
            try:
                check_skull(scan, spacing)
                expected = ""
            except BundleError as error:
                expected = str(error)
            try:
                call(steps, "steps/skull.js", "checkSkull", of(scan), spacing)
                found = ""
            except RefusedError as error:
                found = str(error)
            assert found == expected


def test_depths_are_euclidean_distances(steps: Any) -> None:
    mask = np.random.default_rng(0).random((11, 9, 13)) > 0.08
    spacing = (1.0, 2.5, 0.7)
    expected = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    found = call(steps, "steps/distance.js", "depthOf", mask.ravel(order="F").astype(np.uint8), mask.shape, spacing)
    np.testing.assert_allclose(unflat(found, mask.shape), expected, rtol=EXACT)


@pytest.mark.parametrize("kind", ["whole numbers", "fractions", "negative", "one value", "empty"])
def test_intensities_are_scaled_as_in_python(steps: Any, kind: str) -> None:
    scan = SCANS[2].astype(np.float32)
    scans = {"whole numbers": scan, "fractions": scan / 7, "negative": np.where(scan > 0, scan - 900, 0)}
    scans |= {"one value": (scan > 0) * 5.0, "empty": scan * 0}
    modality = scans[kind].astype(np.float32)
    expected = ScaleBrainIntensityd("image")({"image": torch.from_numpy(modality[None])})["image"][0].numpy()
    found = call(steps, "steps/intensity.js", "scaled", volume(modality))
    # up to 1, in float32: a difference and a quotient, here and there
    np.testing.assert_allclose(unflat(found, modality.shape), expected, rtol=0, atol=FLOAT32)
    np.testing.assert_array_equal(found == 0, volume(expected) == 0)


def test_the_box_is_that_of_monai(steps: Any) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        image = np.zeros((2, *SHAPE), np.float32)
        for channel in image:
            channel[tuple(rng.integers(0, SHAPE, 3))] = 1
            channel[tuple(rng.integers(0, SHAPE, 3))] = 0.5
            channel[tuple(rng.integers(0, SHAPE, 3))] = -1
        cropper = CropForeground(margin=1, allow_smaller=True)
        start, end = cropper.compute_bounding_box(torch.from_numpy(image))
        box = call(steps, "steps/box.js", "brainBox", [volume(channel) for channel in image], SHAPE, 1)
        assert (box["start"], box["size"]) == (list(start), [int(e - s) for s, e in zip(start, end)])
        cropped = call(steps, "steps/box.js", "crop", volume(image[0]), SHAPE, box)
        np.testing.assert_array_equal(cropped, volume(image[0][tuple(map(slice, start, end))]))


def test_resampling_is_that_of_monai_for_any_affine_and_back(steps: Any) -> None:
    rng = np.random.default_rng(0)
    for affine in [np.diag([1.0, 1.0, 1.0, 1.0]), np.diag([2.0005, 1.3, 0.9, 1.0]), *affines(30)]:
        shape = tuple(int(edge) for edge in rng.integers(5, 20, 3))
        image = MetaTensor(torch.from_numpy(rng.random((2, *shape), np.float32)), affine=torch.from_numpy(affine))
        spacing = Spacing(pixdim=(2.0, 2.0, 2.0), mode="bilinear")
        expected = cast(MetaTensor, spacing(image))
        grid = {"shape": list(shape), "affine": affine}
        spaced = call(steps, "steps/resampling.js", "spacedGrid", grid, 2.0)
        assert spaced["shape"] == list(expected.shape[1:])
        np.testing.assert_allclose(spaced["affine"], expected.affine.numpy(), rtol=EXACT, atol=EXACT)
        channels = [volume(channel) for channel in image.numpy()]
        found = call(steps, "steps/resampling.js", "resample", channels, grid, spaced)
        for one, other in zip(found, expected.numpy()):
            # interpolated in float64 and kept in float32
            np.testing.assert_allclose(one, volume(other), rtol=0, atol=FLOAT32)
        back = call(steps, "steps/resampling.js", "resample", found, spaced, grid)
        for one, other in zip(back, spacing.inverse(expected).numpy()):
            # the same once more: means of what differs so far, and one more rounding on either side
            np.testing.assert_allclose(one, volume(other), rtol=0, atol=FLOAT32)


def test_a_whole_case_becomes_the_same_input(steps: Any, config: ConfigParser, tmp_path: Path) -> None:
    folder = Path(make_cohort(tmp_path / "data", cases=1, shape=(60, 64, 50))) / "phantom_000"
    prepare = config.get_parsed_content("image_preprocessing")
    for index, axes in enumerate(("LPS", "ASR", "IRP")):
        paths = [folder / f"phantom_000_{name.lower()}.nii.gz" for name in MODALITIES]
        for path in paths:  # on other axes, at other sizes, the last with a background of its own
            scan = nib.Nifti1Image.from_filename(path)
            offset = 1000 if index == 2 else 0
            affine = affine_of(axes, "oblique", scan.shape) @ np.diag([3, 3, 2.5, 1])
            nib.save(nib.Nifti1Image(scan.get_fdata() + offset, affine), tmp_path / path.name)
        moved = [tmp_path / path.name for path in paths]
        expected = prepare({"image": [str(path) for path in moved], "case": "c"})["image"]
        files = [{"modality": name, "file": as_file(path)} for name, path in zip(MODALITIES, moved)]
        found = call(steps, "steps/prepare.js", "prepare", call(steps, "steps/prepare.js", "readCase", files))
        assert found["spaced"]["shape"] == list(expected.shape[1:])
        np.testing.assert_allclose(found["spaced"]["affine"], expected.affine.numpy(), rtol=0, atol=EXACT)
        for one, other in zip(found["image"], expected.numpy()):
            # scaled and then interpolated, each in up to four roundings
            np.testing.assert_allclose(one, volume(other), rtol=0, atol=2 * FLOAT32)
        words = "has the background 1000 in place of 0; it is set to 0"
        assert [words in warning for warning in found["warnings"]] == [True] * (4 if index == 2 else 0)


def test_odd_modalities_are_warned_of_as_the_commands_do(steps: Any, caplog: pytest.LogCaptureFixture) -> None:
    brain = SCANS[0].astype(np.float32)
    mask, cut_off, wrapped = 5 * (brain > 0), brain.clip(max=np.median(brain[brain > 0])), brain % 256
    names = [f"{name}.nii ({name})" for name in MODALITIES]
    for arrays, count in (((brain, brain, mask, cut_off), 3), ((wrapped, *SCANS[1:]), 1)):
        image = np.stack([np.asarray(array, np.float32) for array in arrays])
        warn_once.cache_clear()
        caplog.clear()
        warn_of_oddities(image, names)
        expected = [record.getMessage() for record in caplog.records]
        assert len(expected) == count
        volumes = [{"name": f"{name}.nii", "modality": name, **of(voxels)} for name, voxels in zip(MODALITIES, image)]
        assert call(steps, "steps/oddities.js", "odditiesOf", volumes) == expected


def test_tensors_and_volumes_are_the_same_voxels(steps: Any) -> None:
    image = np.random.default_rng(0).random((2, *SHAPE), np.float32)
    volumes = [volume(channel) for channel in image]
    tensor = call(steps, "steps/tensors.js", "toTensor", volumes, SHAPE)
    np.testing.assert_array_equal(tensor, image.ravel())
    for one, other in itertools.zip_longest(call(steps, "steps/tensors.js", "fromTensor", tensor, 2, SHAPE), volumes):
        np.testing.assert_array_equal(one, other)
