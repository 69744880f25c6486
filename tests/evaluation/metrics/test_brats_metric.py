# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor, list_data_collate
from monai.engines import SupervisedEvaluator
from monai.transforms import CopyItemsd

from scripts.base.errors import BundleError
from scripts.evaluation.metrics.brats_metric import BratsMetric, BratsMetricHandler, from_output
from scripts.evaluation.metrics.case_metrics import case_metrics, select_metrics
from scripts.evaluation.metrics.scoring_rules import SCORING_RULES
from tests.masks import WORST
from tests.tolerances import EXACT

EMPTY = torch.zeros(3, 4, 4, 4)
HALF = EMPTY.clone()
HALF[:, :2] = 1


def random_masks(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y_pred, y = (torch.rand(2, count, 3, 6, 6, 6, generator=generator) < 0.4).float()
    y[1, 2], y_pred[2, 2] = 0, 0
    return y_pred, y


@pytest.mark.parametrize("scoring_rules", SCORING_RULES)
def test_buffer_holds_the_metrics_of_each_case_whether_from_lists_or_batches(scoring_rules: str) -> None:
    y_pred, y = random_masks(3)
    probabilities = torch.linspace(0, 1, y.numel()).reshape(y.shape)
    of_batch, of_lists = (BratsMetric(scoring_rules=scoring_rules, spacing=(1, 2, 3)) for _ in range(2))
    returned = of_batch(y_pred, y, probabilities)
    for case in range(3):
        of_lists([y_pred[case]], [y[case]], [probabilities[case]])
    buffer = of_batch.get_buffer()
    assert buffer.dtype == torch.float64
    for other in (returned, of_lists.get_buffer()):
        torch.testing.assert_close(buffer, other, rtol=0, atol=0, equal_nan=True)
    for case in range(3):
        wanted = case_metrics(
            y_pred[case], y[case], spacing=(1, 2, 3), scoring_rules=scoring_rules, probabilities=probabilities[case]
        )
        for index, name in enumerate(select_metrics(scoring_rules)):
            assert buffer[case, :, index].tolist() == pytest.approx(wanted[name], nan_ok=True, rel=0, abs=0)
    assert not buffer[0].isnan().any()


def test_the_mean_counts_every_case_and_region_and_begins_anew_after_a_reset() -> None:
    metric = BratsMetric(metrics=["dice", "hd95"])
    metric([HALF, EMPTY], [HALF, HALF])
    assert metric.aggregate().tolist() == pytest.approx([0.5, WORST["brats2021"] / 2])
    metric.reset()
    metric([EMPTY], [EMPTY])
    assert metric.aggregate().tolist() == [1, 0]


def test_the_mean_skips_nan_as_monai_does() -> None:
    half_missing = HALF.clone()
    half_missing[0] = 0
    metric = BratsMetric(scoring_rules="monai", metrics=["sensitivity"])
    # MONAI takes the mean of each case's regions first: (1 + (0 + 1) / 2) / 2, not (1 + 1 + 0 + 1) / 4
    prediction = HALF.clone()
    prediction[1] = 0
    truth = HALF.clone()
    truth[2] = 0
    metric([HALF, prediction, HALF], [half_missing, truth, EMPTY])
    assert metric.aggregate().tolist() == pytest.approx([(1 + 1 / 2) / 2])


def test_a_case_without_truth_has_no_metrics_that_need_one_and_the_mean_leaves_it_out() -> None:
    metric = BratsMetric(metrics=["dice", "volume_ml"], spacing=(10, 10, 10))
    found = metric([HALF, HALF], [HALF, None])
    assert found[1].isnan().tolist() == [[True, False]] * 3
    assert metric.aggregate().tolist() == [1, 32]
    metric.reset()
    metric(HALF[None])
    assert metric.aggregate().isnan().tolist() == [True, False]


def test_distances_are_in_mm_of_the_truth_or_else_of_the_prediction() -> None:
    near, far = EMPTY.clone(), EMPTY.clone()
    near[:, 0, 0, 0] = 1
    far[:, 1, 2, 3] = 1
    fine, coarse = torch.diag(torch.tensor([1.0, 0.5, 2, 1])), torch.diag(torch.tensor([-3.0, -3, 3, 1]))
    in_fine, in_coarse = math.hypot(1, 1, 6), math.hypot(3, 6, 9)
    pairs: list[Any] = [
        (near, far, math.hypot(1, 2, 3)),
        (near, MetaTensor(far, affine=fine), in_fine),
        (MetaTensor(near, affine=coarse), MetaTensor(far, affine=fine), in_fine),
        (MetaTensor(near, affine=coarse), far, in_coarse),
    ]
    metric = BratsMetric(metrics=["hd95"])
    for prediction, truth, wanted in pairs:
        assert metric([prediction], [truth]).flatten().tolist() == pytest.approx([wanted] * 3)
    batch = list_data_collate([{"y": MetaTensor(far, affine=fine)}, {"y": MetaTensor(far, affine=coarse)}])["y"]
    assert metric(torch.stack([near, near]), batch)[:, 0, 0].tolist() == pytest.approx([in_fine, in_coarse])


def test_a_given_voxel_size_holds_also_for_tensors_that_a_transform_has_made_metatensors_of_1_mm() -> None:
    prediction, truth = EMPTY.clone(), EMPTY.clone()
    prediction[:, 0, 0, 0] = 1
    truth[:, 1, 2, 3] = 1
    metric = BratsMetric(metrics=["hd95"], spacing=(2, 2, 2))
    wanted = pytest.approx([2 * math.hypot(1, 2, 3)] * 3)
    for pair in ((MetaTensor(prediction), truth), (prediction, MetaTensor(truth))):
        assert metric([pair[0]], [pair[1]]).flatten().tolist() == wanted


def evaluate(items: list[dict[str, Any]], **options: Any) -> SupervisedEvaluator:
    options = {"key_val_metric": {"mean_dice": BratsMetricHandler()}} | options
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items), batch_size=2),
        network=torch.nn.Identity(),
        **options,
    )
    evaluator.run()
    return evaluator


@pytest.mark.parametrize("decollate", [True, False])
def test_one_handler_gives_an_evaluator_every_metric(decollate: bool) -> None:
    items = [{"image": image, "label": EMPTY + 1} for image in (HALF, EMPTY, EMPTY + 1)]
    state: Any = evaluate(items, decollate=decollate).state
    assert state.metrics["mean_dice"] == state.best_metric == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert set(state.metric_details) == {"mean_dice", *select_metrics("brats2021")}
    wanted: dict[str, list[float]] = {
        "mean_dice": [2 / 3, 0, 1],
        "dice": [2 / 3, 0, 1],
        "sensitivity": [0.5, 0, 1],
        "lesions": [1, 0, 1],
    }
    for name, metrics in wanted.items():
        found = state.metric_details[name]
        expected = torch.tensor(metrics, dtype=torch.float64)[:, None].expand(3, 3)
        torch.testing.assert_close(found, expected, rtol=EXACT, atol=0)
        assert state.metrics[name] == pytest.approx(sum(metrics) / 3)
    assert math.isnan(state.metrics["calibration_error"])


def test_the_value_under_brats2023_is_the_lesion_wise_dice() -> None:
    image = torch.zeros(3, 4, 4, 40)
    image[..., :4] = 1
    label = image.clone()
    image[..., -1] = 1
    handler = BratsMetricHandler(scoring_rules="brats2023")
    state: Any = evaluate([{"image": image, "label": label}], key_val_metric={"key": handler}).state
    assert state.metrics["key"] == state.metrics["lesion_dice"] == 1 / 2
    assert state.metric_details["key"].tolist() == [[1 / 2] * 3]
    assert state.metrics["dice"] == 2 * 64 / (64 + 80)


def test_probabilities_are_scored_and_items_may_lack_what_is_taken() -> None:
    handler = BratsMetricHandler(output_transform=from_output(["pred", "label", "probabilities"]))
    options = {"key_val_metric": {"dice": handler}, "postprocessing": CopyItemsd("pred", names="probabilities")}
    state: Any = evaluate([{"image": HALF, "label": EMPTY + 1}], **options).state
    assert state.metrics["calibration_error"] == 0.5
    state = evaluate([{"image": HALF}], **options).state
    assert math.isnan(state.metrics["dice"])
    assert math.isnan(state.metrics["calibration_error"])
    assert state.metrics["volume_ml"] == 0.032
    assert from_output(["a", "b"])([{"a": 1}, {"b": 2}]) == ([1, None], [None, 2])
    assert from_output(["a", "b"])({"b": 2}) == (None, 2)


def test_what_would_mislead_is_refused() -> None:
    with pytest.raises(BundleError, match="metrics: found hd95; add dice, the value of a brats2021 handler"):
        BratsMetricHandler(metrics=["hd95"])
    with pytest.raises(BundleError, match="found hd95, whose value would be dice; take another"):
        evaluate([{"image": HALF, "label": HALF}], key_val_metric={"hd95": BratsMetricHandler()})
    with pytest.raises(BundleError, match="scoring_rules: found 'brats'"):
        BratsMetricHandler(scoring_rules="brats")


@pytest.mark.parametrize(
    ("y_pred", "y", "probabilities", "message"),
    [
        ([EMPTY, EMPTY], [EMPTY], None, "y: found 1 cases for 2 predictions; give one for each"),
        ([EMPTY], [EMPTY], [EMPTY, EMPTY], "probabilities: found 2 cases for 1 predictions"),
        ([EMPTY], [EMPTY], [EMPTY + math.nan], "probabilities: found NaN"),
        ([EMPTY], [EMPTY[..., 1:]], None, "truth: found shape"),
        (EMPTY, EMPTY, None, r"prediction: found shape \(4, 4, 4\)"),
    ],
)
def test_what_is_no_batch_of_cases_is_refused(y_pred: Any, y: Any, probabilities: Any, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        BratsMetric()(y_pred, y, probabilities)


def test_there_is_no_mean_of_no_cases() -> None:
    with pytest.raises(BundleError, match="dice, hd95: no case"):
        BratsMetric(metrics=["hd95", "dice"]).aggregate()
