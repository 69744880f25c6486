# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from scripts.base.errors import BundleError
from scripts.brats import REGION_COLOURS, TISSUES
from scripts.evaluation.report.plots import draw_box_plots, draw_slices, take_slice
from scripts.evaluation.report.volumes import CaseVolumes

NAN = float("nan")
GREY = 102


def picture(png: bytes) -> np.ndarray:
    return imread(io.BytesIO(png))[..., :3]


def where_coloured(pixels: np.ndarray, colour: Any) -> np.ndarray:
    # within 5 of 255 levels: overlay and file each round to one
    return np.abs(pixels - np.asarray(colour)).max(axis=-1) < 0.02


def make_volumes(**changes: Any) -> CaseVolumes:
    """A brain box with a tumour on the patient's right, anterior: wide in slice 8, narrow in slice 3."""
    image = np.zeros((4, 40, 50, 12), np.uint8)
    image[:, 2:38, 2:48] = GREY
    truth = np.zeros((40, 50, 12), np.uint8)
    truth[24:34, 28:42, 8] = truth[24:26, 28:30, 3] = 2
    truth[26:32, 30:40, 8] = 1
    truth[26:32, 30:34, 8] = 4
    known: dict[str, Any] = {"case": "a", "image": image, "prediction": np.zeros_like(truth), "truth": truth}
    known |= {"confidence": None, "affine": np.diag([1.0, 1, 2, 1]), "start": (5, 6, 7), "size": (50, 60, 30)}
    return CaseVolumes(**(known | changes))


def test_boxes_have_the_colours_of_the_regions_and_the_place_of_the_quartiles() -> None:
    values = np.random.default_rng(0).uniform(0.2, 0.4, (30, 3))
    values[:, 1] += 0.4
    pixels = picture(draw_box_plots({"dice": values}))
    colours = {region: 0.55 * np.array(to_rgb(colour)) + 0.45 for region, colour in REGION_COLOURS.items()}
    middles = {region: np.argwhere(where_coloured(pixels, colour)).mean(axis=0) for region, colour in colours.items()}
    assert middles["TC"][1] < middles["WT"][1] - 50 < middles["ET"][1] - 100
    assert middles["WT"][0] < middles["TC"][0] - 100
    # at 469 pixels per unit, the middles of two boxes of 30 draws differ with a standard deviation of 9; four of these
    assert middles["TC"][0] == pytest.approx(middles["ET"][0], abs=36)


def test_box_plots_leave_out_what_is_unknown() -> None:
    values = np.array([[0.2, NAN, 0.4], [0.3, NAN, NAN], [0.5, NAN, 0.6]])
    pixels = picture(draw_box_plots({"dice": values, "hd95": 100 * values, "lesions": values}))
    boxes = [where_coloured(pixels, 0.55 * np.array(to_rgb(c)) + 0.45).sum() for c in REGION_COLOURS.values()]
    assert boxes[0] > 1000
    assert boxes[1] == 0
    with pytest.raises(BundleError, match="metrics: found"):
        draw_box_plots({"lesions": values})


def test_a_slice_is_the_widest_in_radiological_view() -> None:
    taken = take_slice(make_volumes(), title="worst a")
    assert (taken.title, taken.place) == ("worst a", "axial slice 16 of 30")
    assert list(taken.planes) == ["T1", "T1ce", "T2", "FLAIR", "truth", "prediction"]
    truth = taken.planes["truth"]
    assert truth.shape == (50, 40)
    row, column = np.argwhere(truth > 0).mean(axis=0)
    assert row < 25
    assert column < 20
    assert np.argwhere(truth == 4)[:, 0].mean() > np.argwhere(truth == 1)[:, 0].mean()


def test_voxels_keep_their_shape() -> None:
    assert take_slice(make_volumes(affine=np.diag([1.0, 3, 2, 1])), title="a").aspect == 3


def test_slices_show_truth_beside_prediction_and_the_confidence() -> None:
    confidence = np.full((3, 40, 50, 12), 30, np.uint8)
    case = take_slice(make_volumes(confidence=confidence), title="a")
    without = take_slice(make_volumes(truth=None), title="b")
    pixels = picture(draw_slices([case, without]))
    height, width = pixels.shape[:2]
    first, second = pixels[: height // 2], pixels[height // 2 : int(0.9 * height)]
    columns = [slice(round(width * i / 5), round(width * (i + 1) / 5)) for i in range(5)]
    for (_, colour), voxels in zip(TISSUES.values(), (80, 36, 24)):
        shown = where_coloured(first, 0.55 * np.array(to_rgb(colour)) + 0.45 * GREY / 255)
        assert shown[:, columns[2]].sum() / 24 > 5
        assert shown[:, columns[3]].sum() == 0
        enhancing = where_coloured(first, 0.55 * np.array(to_rgb(TISSUES[4].colour)) + 0.45 * GREY / 255).sum()
        # 7 pixels a voxel: 6 by 4 voxels may lack one of 42 and one of 28, 6 %, and what they divide another 6 %
        assert shown.sum() / enhancing == pytest.approx(voxels / 24, rel=0.12)
    viridis = (0.208, 0.372, 0.553)
    assert where_coloured(first[:, columns[4]], viridis).sum() > 10_000
    assert where_coloured(second, viridis).sum() == 0
    # but for the word that says that there is none
    assert where_coloured(second[:, columns[2]], [GREY / 255] * 3).sum() < 100
    assert where_coloured(second[:, columns[3]], [GREY / 255] * 3).sum() > 10_000
