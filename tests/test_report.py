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

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import MeanDice, from_engine

from scripts.errors import BundleError
from scripts.metrics import FIGURES, BratsMetricHandler
from scripts.report import LABEL_COLOURS, PANELS, EvaluationReport, draw_case, region_table, write_per_case

SHAPE = (40, 50, 12)
GRAY = 0.4
FIGURES_OF_TWO = {
    "hd95": torch.tensor([[1.0, 2, 373.1287], [3, 2, 0]]),
    "dice": torch.tensor([[0.9, 0.8, 0.0], [0.7, 0.8, 1.0]]),
}


def test_table_has_mean_and_deviation_of_each_region_for_the_figures_given() -> None:
    assert region_table(FIGURES_OF_TWO).splitlines() == [
        "region              Dice         HD95 (mm)",
        "    TC   0.8000 ± 0.1414     2.00 ±   1.41",
        "    WT   0.8000 ± 0.0000     2.00 ±   0.00",
        "    ET   0.5000 ± 0.7071   186.56 ± 263.84",
        "  mean   0.7000 ± 0.1886    63.52 ±  87.48",
        "mean ± SD, N = 2",
        "Not for diagnosis.",
    ]


def test_table_of_one_case_has_no_deviation() -> None:
    table = region_table({"sensitivity": torch.tensor([[1.0, 0.5, 0.0]])})
    assert table.splitlines()[1:3] == ["    TC   1.0000 ±    n/a", "    WT   0.5000 ±    n/a"]
    assert "N = 1" in table


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"f1": torch.zeros(2, 3)},
        {"dice": torch.zeros(0, 3)},
        {"dice": torch.zeros(2, 4)},
        {"dice": torch.zeros(2, 3), "hd95": torch.zeros(3, 3)},
    ],
)
def test_table_of_no_figures_or_of_other_shapes_is_refused(figures: dict[str, torch.Tensor]) -> None:
    with pytest.raises(BundleError, match="figures: found"):
        region_table(figures)


def test_file_has_a_line_per_case_and_region_and_takes_the_place_of_the_old_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "per_case.csv"
    write_per_case(path, ["old"], {"dice": torch.zeros(1, 3)})
    write_per_case(path, ["b", 'a,"quoted"'], FIGURES_OF_TWO)
    assert path.read_text().splitlines() == [
        "case,region,dice,hd95",
        "b,TC,0.9,1",
        "b,WT,0.8,2",
        "b,ET,0,373.129",
        '"a,""quoted""",TC,0.7,3',
        '"a,""quoted""",WT,0.8,2',
        '"a,""quoted""",ET,1,0',
    ]
    assert list(path.parent.iterdir()) == [path]


def test_file_of_other_cases_or_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cases: found 1 ids for figures of 2 cases"):
        write_per_case(tmp_path / "per_case.csv", ["a"], FIGURES_OF_TWO)
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match=r"file/per_case\.csv: cannot be written"):
        write_per_case(tmp_path / "file" / "per_case.csv", ["a", "b"], FIGURES_OF_TWO)


def make_items() -> list[dict[str, Any]]:
    """Three cases of 2 mm voxels: 'z' is half found, 'a' found and without ET, 'm' has an invented ET only."""
    shape = (3, 4, 4, 4)
    truths, predictions = torch.zeros(3, *shape), torch.zeros(3, *shape)
    truths[:2, :, 0, :2, 0] = 1
    predictions[0, :, 0, 0, 0] = 1
    predictions[1] = truths[1]
    truths[1, 2] = predictions[1, 2] = 0
    predictions[2, 2, 0, 0, 0] = 1
    affine = torch.diag(torch.tensor([2.0, 2, 2, 1]))
    return [
        {"case": case, "image": MetaTensor(p, affine=affine), "label": MetaTensor(t, affine=affine)}
        for case, p, t in zip("zam", predictions, truths)
    ]


def make_evaluator(items: list[dict[str, Any]], report: EvaluationReport, **options: Any) -> SupervisedEvaluator:
    pred_and_label = from_engine(["pred", "label"])
    return SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items), batch_size=2),
        network=torch.nn.Identity(),  # the image is the prediction
        key_val_metric={"mean_dice": BratsMetricHandler()},
        additional_metrics={"monai_dice": MeanDice(output_transform=pred_and_label)},
        val_handlers=[report],
        **options,
    )


def test_evaluation_writes_each_case_under_its_own_name_and_prints_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluator = make_evaluator(make_items(), EvaluationReport(tmp_path / "output", "held-out cases"))
    evaluator.run()
    evaluator.run()
    path = tmp_path / "output" / "per_case.csv"
    with open(path, newline="") as file:
        found = [(r["case"], r["region"], *(float(r[figure]) for figure in FIGURES)) for r in csv.DictReader(file)]
    assert found == [
        *[("z", region, 0.666667, 1.9, 0.5, 1) for region in ("TC", "WT", "ET")],
        *[("a", region, 1, 0, 1, 1) for region in ("TC", "WT", "ET")],
        *[("m", region, 1, 0, 1, 1) for region in ("TC", "WT")],
        ("m", "ET", 0, 373.129, 0, 0.984375),
    ]
    details = evaluator.state.metric_details
    table = region_table({"dice": details["mean_dice"], **{name: details[name] for name in FIGURES[1:]}})
    assert capsys.readouterr().out == f"held-out cases\n{table}\n{path}\n" * 2
    assert "TC   0.8889 ± 0.1925     0.63 ±   1.10   0.8333 ± 0.2887   1.0000 ± 0.0000" in table
    assert "N = 3\nNot for diagnosis." in table


def test_evaluation_without_ids_or_decollated_batches_is_refused(tmp_path: Path) -> None:
    anonymous = [{"image": item["image"], "label": item["label"]} for item in make_items()]
    report = EvaluationReport(tmp_path, "title")
    for evaluator in (make_evaluator(anonymous, report), make_evaluator(make_items(), report, decollate=False)):
        with pytest.raises(BundleError, match="items without 'case'"):
            evaluator.run()
    assert not list(tmp_path.iterdir())


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
    return np.abs(pixels - np.asarray(colour)).max(axis=-1) < 0.02


def label_colours() -> list[np.ndarray]:
    return [0.55 * np.array(to_rgb(colour)) + 0.45 * GRAY for colour in LABEL_COLOURS.values()]


def test_picture_shows_the_labels_of_the_widest_slice_in_radiological_view(
    tmp_path: Path, case: dict[str, np.ndarray]
) -> None:
    path = tmp_path / "pictures" / "case.png"
    case["prediction"][1, 5:35, 6:44, 5] = True
    draw_case(path, **case, title="case_7")
    truth, prediction = panel(path, 1, 0), panel(path, 1, 1)
    oedema, core, enhancing = (where_coloured(truth, colour) for colour in label_colours())
    # 80 : 36 : 24 voxels
    assert oedema.sum() / enhancing.sum() == pytest.approx(80 / 24, rel=0.1)
    assert core.sum() / enhancing.sum() == pytest.approx(36 / 24, rel=0.1)
    assert not any(where_coloured(prediction, colour).any() for colour in label_colours())

    brain = truth.max(axis=-1) > 0.2
    (row, column), (mid_row, mid_column) = np.argwhere(oedema).mean(axis=0), np.argwhere(brain).mean(axis=0)
    assert row < mid_row - 20
    assert column < mid_column - 20
    # enhancing tumour is the posterior part of the core
    assert np.argwhere(enhancing)[:, 0].mean() > np.argwhere(core)[:, 0].mean() + 10
    assert list(path.parent.iterdir()) == [path]


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
    assert coloured == pytest.approx(in_truth, rel=0.05)


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
        (case["image"] * 0, "image: found no voxel but 0"),
        (case["image"][0], "image: found shape"),
    ):
        with pytest.raises(BundleError, match=message):
            draw_case(tmp_path / "case.png", **(case | {"image": image}), title="case_7")
