# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    CropForegroundd,
    Invertd,
    Orientationd,
    Spacingd,
)

from scripts.base.errors import BundleError
from scripts.data.transforms import BratsLabeld, IsolatedSpacingd, LoadScansd, ScaleBrainIntensityd
from tests.data.test_checks import MODALITIES, save, save_dicom
from tests.tolerances import EXACT, FLOAT32

SHAPE = (16, 18, 20)
AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2.0, 0, 40], [0, 0, 3.0, -20], [0, 0, 0, 1]])


@pytest.fixture
def scans() -> np.ndarray:
    """Four modalities of a smooth brain, each with its own intensities, 0 around it."""
    i, j, k = np.indices(SHAPE)
    depth = 1 - ((i - 8) / 6) ** 2 - ((j - 8) / 7) ** 2 - ((k - 11) / 8) ** 2
    texture = np.stack([np.sin(i / 3 + m) + np.cos(j / 4 - m) + np.sin(k / 5) for m in range(4)])
    scale = np.array([100, 300, 1000, 50])[:, None, None, None]
    return ((texture + 4) * scale * (depth > 0)).astype(np.int16)


@pytest.fixture
def case(scans: np.ndarray, tmp_path: Path) -> dict[Hashable, Any]:
    paths = [save(tmp_path / f"case_{name}.nii.gz", scan, AFFINE) for name, scan in zip(MODALITIES, scans)]
    return {"case": "case", "image": paths}


def load(source: str | list[str]) -> MetaTensor:
    return LoadScansd("image")({"image": source, "case": "BraTS_7"})["image"]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha", ""])
def test_four_files_or_dicom_folders_become_one_image(suffix: str, scans: np.ndarray, tmp_path: Path) -> None:
    places = [tmp_path / f"{name}{suffix}" for name in MODALITIES]
    if suffix:
        image = load([save(place, scan) for place, scan in zip(places, scans)])
    else:
        image = load([save_dicom(place, scan, series) for series, (place, scan) in enumerate(zip(places, scans))])
    np.testing.assert_array_equal(image, scans)
    # NIfTI counts to the right and anterior, the others to the left and posterior
    sign = 1 if suffix.startswith(".nii") else -1
    np.testing.assert_array_equal(image.affine, np.diag([sign, sign, 1, 1]))
    assert Path(image.meta["filename_or_obj"]).name == "BraTS_7.nii.gz"


@pytest.mark.parametrize(("item", "order"), [({"layout": "msd"}, (3, 0, 1, 2)), ({}, (0, 1, 2, 3))])
def test_a_file_of_four_channels_comes_in_the_house_order(
    item: dict[Hashable, Any], order: tuple[int, ...], scans: np.ndarray, tmp_path: Path
) -> None:
    path = save(tmp_path / "BRATS_001.nii.gz", scans[list(order)].transpose(1, 2, 3, 0), AFFINE)
    image = LoadScansd("image")(item | {"image": path})["image"]
    np.testing.assert_array_equal(image, scans)
    np.testing.assert_array_equal(image.affine, AFFINE)


@pytest.mark.parametrize("names", [MODALITIES, ("t1n", "t1c", "t2w", "t2f")])
def test_the_folder_of_a_case_is_its_four_modalities(names: tuple[str, ...], scans: np.ndarray, tmp_path: Path) -> None:
    for name, scan in zip(names, scans):
        save(tmp_path / "case" / f"BraTS-{name}.nii.gz", scan, AFFINE)
    save(tmp_path / "case" / "BraTS-seg.nii.gz", np.ones(SHAPE, np.uint8), AFFINE)
    item = LoadScansd("image")({"image": str(tmp_path / "case")})
    image = item["image"]
    assert (item["case"], Path(image.meta["filename_or_obj"]).name) == ("case", "case.nii.gz")
    np.testing.assert_array_equal(image, scans)
    np.testing.assert_array_equal(image.affine, AFFINE)


def test_a_folder_that_is_not_of_one_whole_case_is_refused(scans: np.ndarray, tmp_path: Path) -> None:
    for case in ("one", "two"):
        for name, scan in zip(MODALITIES, scans):
            save(tmp_path / case / f"{case}_{name}.nii.gz", scan)
    with pytest.raises(BundleError, match=r"holds 2 cases \(one, two ...\); name the folder of one"):
        load(str(tmp_path))
    (tmp_path / "one" / "one_t2.nii.gz").unlink()
    with pytest.raises(BundleError, match="one: has no T2 file"):
        load(str(tmp_path / "one"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="empty: no case found"):
        load(str(tmp_path / "empty"))


def test_what_is_not_four_modalities_of_one_shape_is_refused(case: dict[Hashable, Any], tmp_path: Path) -> None:
    t1, *others = case["image"]
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(b"not NIfTI")
    small = save(tmp_path / "small.nii.gz", np.ones((8, 8, 8), np.int16), AFFINE)
    for source, message in [
        (others, r"holds \(3, 16, 18, 20\) values; four 3D modalities"),
        (t1, r"holds \(1, 16, 18, 20\) values; four 3D modalities"),
        (
            [t1, small, *others[1:]],
            r"small.nii.gz: shape \(8, 8, 8\), but that of the first modality is \(16, 18, 20\)",
        ),
        ([str(damaged), *others], "cannot read .*damaged"),
        ([str(tmp_path / "absent.nii.gz"), *others], "cannot read .*absent"),
    ]:
        with pytest.raises(BundleError, match=message):
            load(source)


def test_affines_that_differ_by_a_rounding_are_one_image(case: dict[Hashable, Any], scans: np.ndarray) -> None:
    save(Path(case["image"][2]), scans[2], AFFINE * (1 + 1e-4))
    image = load(case["image"])
    np.testing.assert_array_equal(image, scans)
    np.testing.assert_array_equal(image.affine, AFFINE)


@pytest.mark.parametrize(
    ("layout", "core", "oedema", "enhancing"), [("brats2021", 1, 2, 4), ("brats2023", 1, 2, 3), ("msd", 2, 1, 3)]
)
def test_labels_of_every_layout_become_those_of_brats(layout: str, core: int, oedema: int, enhancing: int) -> None:
    found = torch.tensor([0, core, oedema, enhancing, oedema, core, 0, enhancing]).reshape(1, 2, 2, 2)
    item = BratsLabeld("label")({"label": found.clone(), "layout": layout})
    assert item["label"].flatten().tolist() == [0, 1, 2, 4, 2, 1, 0, 4]


def test_the_brain_is_scaled_between_its_own_percentiles(scans: np.ndarray) -> None:
    scans[1] -= 5000 * (scans[1] > 0)  # the brain may be below the background, as where it was normalised before
    scans[2] = 0
    image = ScaleBrainIntensityd("image")({"image": torch.tensor(scans, dtype=torch.float32)})["image"].numpy()
    for scaled, scan in zip(image, scans):
        brain = np.sort(scan[scan != 0])
        if brain.size:
            low, high = np.interp(np.array([0.01, 0.99]) * (brain.size - 1), np.arange(brain.size), brain)
            wanted = np.where(scan != 0, np.minimum(np.maximum((scan - low) / (high - low), 0), 1), 0)
            # float32 rounds a percentile of up to 3.7 times their distance, the distance, a difference and a quotient
            np.testing.assert_allclose(scaled, wanted, rtol=0, atol=2 * FLOAT32)
            assert scaled.max() == 1
        assert (scaled[scan == 0] == 0).all()
        assert scaled.min() == 0


@pytest.mark.parametrize("unit", [1e-20, 1e-9, 1e20])
def test_scaled_intensities_do_not_depend_on_the_scanners_unit(scans: np.ndarray, unit: float) -> None:
    image = torch.tensor(scans, dtype=torch.float32)
    wanted = ScaleBrainIntensityd("image")({"image": image})["image"]
    found = ScaleBrainIntensityd("image")({"image": image * unit})["image"]
    # float32 rounds intensities and a percentile of up to 2.3 and 1.3 times the percentiles' distance, the distance, a
    # difference and a quotient, here and there
    torch.testing.assert_close(found, wanted, rtol=0, atol=4 * FLOAT32)


def test_a_constant_brain_becomes_one() -> None:
    image = torch.zeros(4, 5, 5, 5)
    image[:, 1:4, 1:4, 1:4] = 7
    assert torch.equal(ScaleBrainIntensityd("image")({"image": image})["image"], image / 7)


def test_spacing_leaves_a_path_beside_the_image_alone(case: dict[Hashable, Any]) -> None:
    # MONAI Label adds `image_path`, for whose `update` MONAI's own transform asks
    loaded = LoadScansd("image")(case) | {"image_path": case["image"][0]}
    with pytest.raises(AttributeError):
        Spacingd("image", pixdim=(4, 4, 4))(loaded)
    spacing = IsolatedSpacingd("image", pixdim=(4, 4, 4))
    item = spacing(loaded)
    assert item["image_path"] == case["image"][0]
    expected = Spacingd("image", pixdim=(4, 4, 4))({"image": loaded["image"]})["image"]
    torch.testing.assert_close(item["image"], expected, rtol=0, atol=0)
    assert spacing.inverse(item)["image"].shape == loaded["image"].shape


# at the scan's own spacing each voxel is interpolated from itself alone; at another, those at the outline, two in ten,
# change by a quarter of up to 1
@pytest.mark.parametrize(("pixdim", "tolerance"), [((2.0, 2.0, 3.0), FLOAT32), ((1.5, 1.5, 1.5), 0.05)])
def test_inversion_restores_the_grid_and_not_the_intensities(
    pixdim: tuple[float, ...], tolerance: float, case: dict[Hashable, Any]
) -> None:
    preprocessing = Compose(
        [
            LoadScansd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            ScaleBrainIntensityd("image"),
            CropForegroundd("image", source_key="image", margin=1, allow_smaller=True),
            Spacingd("image", pixdim=pixdim, mode="bilinear"),
        ]
    )
    item: Any = preprocessing(case)
    assert item["image"].shape[1:] != SHAPE
    item["pred"] = item["image"].clone()
    restored = Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False)(item)["pred"]

    original = LoadScansd("image")(case)
    scaled = ScaleBrainIntensityd("image")(original)["image"]
    assert restored.shape == (4, *SHAPE)
    np.testing.assert_allclose(restored.affine, AFFINE, rtol=0, atol=EXACT)
    assert (restored - scaled).abs().mean() < tolerance
    assert scaled.max() == 1
