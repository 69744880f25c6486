# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from functools import partial
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.background import check_skull, find_background, share_outline
from scripts.data.checks import check_case
from scripts.data.phantoms import make_phantom
from scripts.data.transforms import LoadScansd, ScaleBrainIntensityd
from tests.data.test_checks import MODALITIES

SPACING = (5.0, 5.0, 5.0)
SCANS, LABEL = make_phantom(3, shape=(48, 48, 40))
Array = np.ndarray


def z_scored(scan: Array, *, background: float) -> Array:
    brain = scan[scan > 0]
    return np.where(scan > 0, (scan - brain.mean()) / brain.std(), background).astype(np.float32)


def quantised(scan: Array) -> Array:
    """What NiBabel reads after it stored z-scores as int16 with a slope and an intercept of its own."""
    image = nib.Nifti1Image(z_scored(scan, background=0), np.eye(4))
    image.set_data_dtype(np.int16)
    return np.asarray(nib.Nifti1Image.from_bytes(image.to_bytes()).dataobj, np.float32)


def resampled(scan: Array) -> Array:
    """Moved by half a voxel there and back by splines, which ring."""
    there = ndimage.shift(scan.astype(np.float32), 0.5, order=3, mode="nearest")
    return ndimage.shift(there, -0.5, order=3, mode="nearest")


def noisy(scan: Array, *, level: float) -> Array:
    noise = np.random.default_rng(0).standard_normal(scan.shape)
    return (scan + level * scan.max() * noise).astype(np.float32)


def with_skull(scan: Array, *, air: float) -> Array:
    """A head: meninges, bone, scalp and air with Rician noise around the brain."""
    brain = scan > 0
    middle = np.median(scan[brain])
    distance = ndimage.distance_transform_edt(~brain, sampling=SPACING)
    layers = [distance == 0, distance <= 4, distance <= 10, distance <= 17]
    head = np.select(layers, [scan, 0.35 * middle, 0.15 * middle, 1.4 * middle], 0)
    noise = air * middle * np.random.default_rng(0).standard_normal((2, *scan.shape))
    return np.hypot(head + noise[0], noise[1]).astype(np.float32)


ALTERED: dict[str, Callable[[Array], Array]] = {
    "-1": partial(z_scored, background=-1),
    "a value within the brain": partial(z_scored, background=0.5),
    "quantised": quantised,
    "an offset": lambda scan: scan + 1000,
    "a negative offset": lambda scan: scan - 1024,
    "the volume's own z-score": lambda scan: ((scan - scan.mean()) / scan.std()).astype(np.float32),
    "noise of floating point": partial(noisy, level=1e-6),
    "noise": partial(noisy, level=2e-3),
    "ringing": resampled,
    "ringing, rounded": lambda scan: np.rint(resampled(scan)).astype(np.int16),
}


def load(item: Item) -> dict[Hashable, Any]:
    return LoadScansd("image")(cast(dict[Hashable, Any], item))


@pytest.mark.parametrize("name", ALTERED)
@pytest.mark.parametrize("channel", range(4))
def test_a_background_that_is_not_0_is_found(name: str, channel: int) -> None:
    scan = SCANS[channel]
    altered = ALTERED[name](scan)
    check_skull(altered, SPACING)
    background = find_background(altered)
    assert background.found
    assert "in place of 0" in background.found
    disagree = background.mask != (scan == 0)
    assert disagree.mean() < (0.05 if name.startswith("ringing") else 0.002)


def cropped_in_k_space(scan: Array) -> Array:
    """Without its highest frequencies, as scanners interpolate: Gibbs's ringing."""
    spectrum = np.fft.fftshift(np.fft.fftn(scan.astype(np.float32)))
    kept = np.zeros(scan.shape, bool)
    kept[tuple(slice(axis // 10, axis - axis // 10) for axis in scan.shape)] = True
    return np.fft.ifftn(np.fft.ifftshift(spectrum * kept)).real.astype(np.float32)


@pytest.mark.parametrize("alter", [resampled, cropped_in_k_space, ALTERED["ringing, rounded"]])
@pytest.mark.parametrize("rung", [(0, 1, 2, 3), (1,)])
def test_an_outline_that_rings_is_found_in_all_modalities_together(
    alter: Callable[[Array], Array], rung: tuple[int, ...]
) -> None:
    scans = [alter(scan) if channel in rung else scan for channel, scan in enumerate(SCANS)]
    alone = [find_background(scan) for scan in scans]
    together = share_outline(alone)
    for channel, scan in enumerate(SCANS):
        apart, shared = ((one[channel].mask != (scan == 0)).mean() for one in (alone, together))
        if channel not in rung:
            assert together[channel] is alone[channel]
        elif len(rung) == 1:  # the others have the outline
            assert shared == 0
        else:
            assert shared < 0.25 * apart


@pytest.mark.parametrize("background", [-2, -1, 0])
def test_a_brain_that_is_darker_than_its_background_in_part_does_not_ring(background: float) -> None:
    for scan in SCANS:
        found = find_background(z_scored(scan, background=background))
        assert found.brain is None
        np.testing.assert_array_equal(found.mask, scan == 0)


@pytest.mark.parametrize("percent", [1, 5, 50])
def test_a_brain_whose_intensities_were_moved_below_0_does_not_ring(percent: float) -> None:
    for scan in SCANS:
        moved = np.where(scan > 0, scan - np.percentile(scan[scan > 0], percent) - 0.5, 0)
        np.testing.assert_array_equal(find_background(moved).mask, scan == 0)


def test_noise_is_no_ringing() -> None:
    alone = [find_background(noisy(scan, level=2e-3)) for scan in SCANS]
    assert all(one is other for one, other in zip(share_outline(alone), alone))


def test_a_few_overflowing_voxels_are_no_head() -> None:
    scan = SCANS[0].astype(np.float32)
    places = np.argwhere(scan > 0)
    scan[tuple(places[np.random.default_rng(0).choice(len(places), 20)].T)] = 1e9
    check_skull(scan, SPACING)


def test_a_background_of_0_is_left_as_it_is() -> None:
    for scan in SCANS:
        background = find_background(scan)
        assert background.found == ""
        np.testing.assert_array_equal(background.mask, scan == 0)
        box = ndimage.find_objects((scan > 0).astype(int))[0]
        assert find_background(scan[box]).found == ""
        check_skull(scan[box], SPACING)


@pytest.mark.parametrize("air", [0.0, 0.03, 0.1])
@pytest.mark.parametrize("channel", range(4))
def test_a_head_is_told_from_a_brain(air: float, channel: int) -> None:
    with pytest.raises(BundleError, match="HD-BET or SynthStrip"):
        check_skull(with_skull(SCANS[channel], air=air), SPACING)


def test_a_small_head_is_told_by_its_dark_layer_of_bone() -> None:
    head = with_skull(SCANS[0], air=0.0)
    small = [0.8 * edge for edge in SPACING]
    with pytest.raises(BundleError, match="scalp, dark bone and brain"):
        check_skull(head, small)
    check_skull(SCANS[0], small)


def test_a_volume_without_background_is_refused() -> None:
    inner = SCANS[0][18:30, 18:30, 16:24]
    with pytest.raises(BundleError, match="surrounds the brain"):
        find_background(np.where(inner == 0, 1, inner))


def write_case(folder: Path, scans: list[Array]) -> Item:
    folder.mkdir(parents=True)
    paths = [str(folder / f"a_{name}.nii.gz") for name in MODALITIES]
    for path, scan in zip(paths, scans):
        nib.save(nib.Nifti1Image(scan, np.diag([*SPACING, 1])), path)
    nib.save(nib.Nifti1Image(LABEL, np.diag([*SPACING, 1])), folder / "a_seg.nii.gz")
    return {"case": "a", "patient": "a", "layout": "brats2021", "image": paths, "label": str(folder / "a_seg.nii.gz")}


@pytest.mark.parametrize("name", ALTERED)
def test_the_network_sees_what_it_sees_of_the_sound_case(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    sound = write_case(tmp_path / "sound", list(SCANS))
    altered = write_case(tmp_path / "altered", [ALTERED[name](scan) for scan in SCANS])
    assert check_case(altered) is None
    with caplog.at_level(logging.WARNING):
        images = [ScaleBrainIntensityd("image")(load(item))["image"].numpy() for item in (sound, altered)]
    assert [path in caplog.text for path in sound["image"]] == [False] * 4
    assert [f"{path} (" in caplog.text for path in altered["image"]] == [True] * 4
    difference = np.abs(images[1] - images[0])
    assert difference.mean() < (0.05 if name.startswith("ringing") else 0.002)


def test_one_head_among_the_modalities_is_refused_by_its_file(tmp_path: Path) -> None:
    scans = [*SCANS[:2], with_skull(SCANS[2], air=0.03), SCANS[3]]
    item = write_case(tmp_path / "case", scans)
    fault = check_case(item) or "none"
    assert "a_t2.nii.gz" in fault
    assert "HD-BET" in fault
    with pytest.raises(BundleError, match=r"a_t2\.nii\.gz.*SynthStrip"):
        load(item)


def test_identical_modalities_and_masks_are_warned_of_by_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mask = ((SCANS[0] > 0) * 100).astype(np.int16)
    item = write_case(tmp_path / "case", [mask, SCANS[1], SCANS[2], SCANS[2]])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            load(item)
    assert caplog.text.count("a_t2.nii.gz (T2) and ") == 1
    assert "a_flair.nii.gz (FLAIR): are identical" in caplog.text
    assert "a_t1.nii.gz (T1): is 100 everywhere in the brain" in caplog.text
