# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.data import MetaTensor
from monai.transforms import (
    Compose,
    ConvertToMultiChannelBasedOnBratsClassesd,
    CropForegroundd,
    Invertd,
    Orientationd,
    Spacingd,
)

from scripts.errors import BundleError
from scripts.transforms import BratsLabeld, CriticConfidenced, LoadScansd, RegionsToLabelsd, ScaleBrainIntensityd
from tests.builders import changed, make_critic, snapshot
from tests.test_checks import MODALITIES, save, save_dicom

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
    np.testing.assert_allclose(image.affine, np.diag([sign, sign, 1, 1]))
    assert Path(image.meta["filename_or_obj"]).name == "BraTS_7.nii.gz"


def test_the_decathlons_channels_come_in_the_house_order(scans: np.ndarray, tmp_path: Path) -> None:
    t1, t1ce, t2, flair = scans
    path = save(tmp_path / "BRATS_001.nii.gz", np.stack([flair, t1, t1ce, t2], axis=-1), AFFINE)
    image = load(path)
    np.testing.assert_array_equal(image, scans)
    np.testing.assert_allclose(image.affine, AFFINE)


def test_what_is_not_four_modalities_of_one_shape_is_refused(case: dict[Hashable, Any], tmp_path: Path) -> None:
    t1, *others = case["image"]
    damaged = tmp_path / "damaged.nii.gz"
    damaged.write_bytes(b"not NIfTI")
    small = save(tmp_path / "small.nii.gz", np.ones((8, 8, 8), np.int16), AFFINE)
    for source, message in [
        (others, r"holds \(3, 16, 18, 20\) values; four 3D modalities"),
        (t1, r"holds \(1, 16, 18, 20\) values; four 3D modalities"),
        ([small, *others], "cannot read .*small"),
        ([str(damaged), *others], "cannot read .*damaged"),
        ([str(tmp_path / "absent.nii.gz"), *others], "cannot read .*absent"),
    ]:
        with pytest.raises(BundleError, match=message):
            load(source)


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
            np.testing.assert_allclose(scaled, wanted, atol=1e-5)
            assert scaled.max() == 1
        assert (scaled[scan == 0] == 0).all()
        assert scaled.min() == 0


@pytest.mark.parametrize(("pixdim", "tolerance"), [((2.0, 2.0, 3.0), 1e-5), ((1.5, 1.5, 1.5), 0.05)])
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
    np.testing.assert_allclose(restored.affine, AFFINE, atol=1e-6)
    assert (restored - scaled).abs().mean() < tolerance
    assert scaled.max() == 1


@settings(deadline=None, max_examples=30)
@given(label=arrays(np.uint8, (1, 3, 4, 5), elements=st.sampled_from([0, 1, 2, 4])), enhancing=st.sampled_from([3, 4]))
def test_regions_and_labels_are_one_to_one(label: np.ndarray, enhancing: int) -> None:
    to_regions = ConvertToMultiChannelBasedOnBratsClassesd("label", et_label=4)
    regions = torch.as_tensor(to_regions({"label": torch.from_numpy(label)})["label"]).float()
    found = RegionsToLabelsd("pred", enhancing_label=enhancing)({"pred": regions})["pred"]
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found, np.where(label == 4, enhancing, label))


@settings(deadline=None, max_examples=30)
@given(regions=arrays(np.bool_, (3, 3, 4, 5)))
def test_every_voxel_of_a_region_that_is_not_nested_keeps_a_label_of_it(regions: np.ndarray) -> None:
    label = RegionsToLabelsd("pred")({"pred": torch.from_numpy(regions).float()})["pred"][0].numpy()
    for region, labels in zip(regions, ([1, 4], [1, 2, 4], [4])):
        assert np.isin(label[region], labels).all()
    assert ((label > 0) == regions.any(axis=0)).all()


def test_other_values_of_enhancing_tumour_are_refused() -> None:
    with pytest.raises(BundleError, match="enhancing_label is 5; allowed are 4"):
        RegionsToLabelsd("pred", enhancing_label=5)


def test_confidence_is_the_critics_judgement_in_eval_mode() -> None:
    critic = make_critic()
    critic(torch.rand(4, 3, 8, 8, 8))  # running statistics that differ from those of the prediction
    before = snapshot(critic.train())
    prediction = torch.rand(3, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    item = CriticConfidenced("pred", critic)({"pred": prediction.clone()})
    assert changed(critic, before) == set()
    with torch.no_grad():
        judgement = critic.eval()(prediction[None])[0]
    torch.testing.assert_close(item["confidence"], 1 / (1 + torch.exp(-judgement)))
    torch.testing.assert_close(item["pred"], prediction)
