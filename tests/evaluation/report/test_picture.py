# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from torch import nn

from scripts.base.errors import BundleError
from scripts.brats import TISSUES
from scripts.evaluation.report.picture import PANELS, CasePictureHandler, draw_case
from tests.builders import changed, make_cases, make_critic, make_evaluator, make_voxelwise_segmenter, snapshot
from tests.outputs import results_in

SHAPE = (40, 50, 12)
GRAY = 0.4


def test_the_first_case_is_drawn_with_the_critics_confidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    critic, path = make_critic(), tmp_path / "case.png"
    nn.init.zeros_(critic.get_parameter("layers.3.conv.weight"))
    nn.init.constant_(critic.get_parameter("layers.3.conv.bias"), math.log(0.3 / 0.7))
    before = snapshot(critic)
    cases = [case | {"case": f"phantom_{index}"} for index, case in enumerate(make_cases(2))]
    make_evaluator(make_voxelwise_segmenter(), cases=cases, handlers=[CasePictureHandler(path, critic=critic)]).run()

    height, width, _ = imread(path).shape
    assert (height, width) == (960, 1488)
    assert where_coloured(panel(path, 1, 2), colormaps["viridis"](0.3)[:3]).sum() > 1000
    assert capsys.readouterr().out == f"picture of phantom_0: {path}\n"
    assert changed(critic, before) == set()


@pytest.fixture
def case() -> dict[str, np.ndarray]:
    """A brain box with a nested tumour on the patient's right, anterior: wide in slice 8, narrow in slice 3."""
    image = np.zeros((4, *SHAPE), dtype=np.float32)
    image[:, 4:36, 5:45, 1:11] = GRAY
    truth = np.zeros((3, *SHAPE), dtype=bool)
    truth[1, 24:34, 28:42, 8] = truth[1, 24:26, 28:30, 3] = True
    truth[0, 26:32, 30:40, 8] = True
    truth[2, 26:32, 30:34, 8] = True
    return {"image": image, "truth": truth, "prediction": np.zeros_like(truth)}


def panel(path: Path, row: int, column: int) -> np.ndarray:
    """One of the two by four panels of a picture, with the heading and the marks of the sides cut off."""
    picture = imread(path)[..., :3]
    height, width = picture.shape[0] // 2, picture.shape[1] // 4
    return picture[row * height : (row + 1) * height, column * width : (column + 1) * width][height // 6 :]


def where_coloured(pixels: np.ndarray, colour: Any) -> np.ndarray:
    # within 5 of 255 levels: colour map, overlay and file each round to one
    return np.abs(pixels - np.asarray(colour)).max(axis=-1) < 0.02


def label_colours() -> list[np.ndarray]:
    return [0.55 * np.array(to_rgb(tissue.colour)) + 0.45 * GRAY for tissue in TISSUES.values()]


def test_picture_shows_the_labels_of_the_widest_slice_in_radiological_view(
    tmp_path: Path, case: dict[str, np.ndarray]
) -> None:
    path = tmp_path / "pictures" / "case.png"
    case["prediction"][1, 5:35, 6:44, 5] = True
    draw_case(path, **case, title="case_7")
    truth, prediction = panel(path, 1, 0), panel(path, 1, 1)
    oedema, core, enhancing = (where_coloured(truth, colour) for colour in label_colours())
    ratios = oedema.sum() / enhancing.sum(), core.sum() / enhancing.sum()
    # 80 : 36 : 24 voxels of 8 pixels, whose edges fall on whole ones: the smallest, 6 by 4 voxels, may lack one of 48
    # and one of 32, 5 %, and what it is compared with has another 5 %
    assert ratios == pytest.approx((80 / 24, 36 / 24), rel=0.1)
    assert not any(where_coloured(prediction, colour).any() for colour in label_colours())

    brain = truth.max(axis=-1) > 0.2
    (row, column), (mid_row, mid_column) = np.argwhere(oedema).mean(axis=0), np.argwhere(brain).mean(axis=0)
    assert row < mid_row - 20
    assert column < mid_column - 20
    # enhancing tumour is the posterior part of the core
    assert np.argwhere(enhancing)[:, 0].mean() > np.argwhere(core)[:, 0].mean() + 10
    assert results_in(path.parent) == {path.name}


def test_picture_of_a_case_without_tumour_follows_the_prediction(tmp_path: Path, case: dict[str, np.ndarray]) -> None:
    path = tmp_path / "case.png"
    case["truth"], case["prediction"] = case["prediction"], case["truth"]
    draw_case(path, **{name: torch.from_numpy(volume) for name, volume in case.items()}, title="case_7")
    assert where_coloured(panel(path, 1, 1), label_colours()[0]).sum() > 1000
    assert not where_coloured(panel(path, 1, 0), label_colours()[0]).any()

    case["prediction"] = case["truth"]
    draw_case(path, **case, title="case_7")
    assert where_coloured(panel(path, 1, 0), 3 * [GRAY]).sum() > 10000


def test_picture_shows_each_modality_in_its_place(tmp_path: Path, case: dict[str, np.ndarray]) -> None:
    path = tmp_path / "case.png"
    case["image"] *= np.array([0.5, 1, 1.5, 2], dtype=np.float32)[:, None, None, None]
    draw_case(path, **case, title="case_7")
    assert PANELS[:4] == ("T1", "T1ce", "T2", "FLAIR")
    for column, brightness in enumerate([0.2, 0.4, 0.6, 0.8]):
        assert where_coloured(panel(path, 0, column), 3 * [brightness]).sum() > 10000


def test_picture_shows_the_mean_confidence_within_the_brain(tmp_path: Path, case: dict[str, np.ndarray]) -> None:
    path = tmp_path / "case.png"
    confidence = np.broadcast_to(np.array([0.0, 0.3, 0.6])[:, None, None, None], (3, *SHAPE))
    draw_case(path, **case, title="case_7")
    wanted = colormaps["viridis"](0.3)[:3]
    assert not where_coloured(panel(path, 1, 2), wanted).any()
    draw_case(path, **case, confidence=confidence, title="case_7")
    coloured = where_coloured(panel(path, 1, 2), wanted).sum()
    in_truth = (panel(path, 1, 0).max(axis=-1) > 0.2).sum()
    # edges fall on whole pixels, one of 332 and one of 265, 0.7 %; the letters R and L make up the rest
    assert coloured == pytest.approx(in_truth, rel=0.01)


@pytest.mark.parametrize("name", ["truth", "prediction", "confidence"])
def test_picture_of_volumes_that_do_not_fit_is_refused(tmp_path: Path, case: dict[str, np.ndarray], name: str) -> None:
    case[name] = case["truth"][..., 1:]
    with pytest.raises(BundleError, match=rf"{name}: found shape \(3, 40, 50, 11\)"):
        draw_case(tmp_path / "case.png", **case, title="case_7")


def test_picture_of_no_scan_or_in_no_folder_is_refused(tmp_path: Path, case: dict[str, np.ndarray]) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"file/case\.png: cannot be written"):
        draw_case(tmp_path / "file" / "case.png", **case, title="case_7")
    for image, message in (
        (case["image"] * 0, "image: found only zeros"),
        (case["image"][0], "image: found shape"),
    ):
        with pytest.raises(BundleError, match=message):
            draw_case(tmp_path / "case.png", **(case | {"image": image}), title="case_7")
