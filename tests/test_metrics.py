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

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import DataLoader, Dataset, MetaTensor, list_data_collate
from monai.engines import SupervisedEvaluator
from monai.handlers import from_engine
from scipy.spatial.distance import cdist

from scripts.errors import BundleError
from scripts.metrics import FIGURES, BratsMetric, BratsMetricHandler

EDGE = 7
DIAGONAL = 373.1287
EMPTY = torch.zeros(3, 4, 4, 4)


@st.composite
def blobs(draw: st.DrawFn) -> np.ndarray:
    """Three regions, each a union of up to three ellipsoids: some are empty, some touch the border or have holes."""
    grid = np.indices((EDGE,) * 3)
    mask = np.zeros((3, EDGE, EDGE, EDGE), dtype=bool)
    triple = st.tuples(*[st.integers(0, EDGE - 1)] * 3)
    for region in mask:
        for centre, radii in draw(st.lists(st.tuples(triple, triple), max_size=3)):
            region ^= sum(((grid[a] - centre[a]) / (radii[a] + 0.5)) ** 2 for a in range(3)) <= 1
    return mask


@settings(deadline=None, max_examples=150)
@given(
    prediction=blobs(),
    truth=blobs(),
    spacing=st.tuples(*[st.floats(0.3, 4)] * 3),
    dtype=st.sampled_from([torch.bool, torch.uint8, torch.float32]),
)
def test_figures_equal_those_of_sets_of_voxels(
    prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float], dtype: torch.dtype
) -> None:
    affine = torch.diag(torch.tensor([*spacing, 1.0]))
    y = MetaTensor(torch.from_numpy(truth).to(dtype), affine=affine)
    for figure in FIGURES:
        found = BratsMetric(figure)([torch.from_numpy(prediction).to(dtype)], [y])
        wanted = [[figure_of_sets(figure, p, t, spacing) for p, t in zip(prediction, truth)]]
        torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float32), rtol=1e-5, atol=1e-5)


def figure_of_sets(figure: str, prediction: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> float:
    p, t = ({tuple(map(int, voxel)) for voxel in np.argwhere(mask)} for mask in (prediction, truth))
    everything = set(itertools.product(range(EDGE), repeat=3))
    if figure == "specificity":
        negatives = everything - t
        return len(negatives - p) / len(negatives) if negatives else 1.0
    if not p and not t:
        return 0.0 if figure == "hd95" else 1.0
    if not p or not t:
        return DIAGONAL if figure == "hd95" else 0.0
    if figure == "dice":
        return 2 * len(p & t) / (len(p) + len(t))
    if figure == "sensitivity":
        return len(p & t) / len(t)
    distances = cdist(surface(p) * spacing, surface(t) * spacing)
    return max(np.percentile(distances.min(axis=1), 95), np.percentile(distances.min(axis=0), 95))


def surface(voxels: set[tuple[int, ...]]) -> np.ndarray:
    """Voxels with a face neighbour outside the set."""
    faces = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    inner = {v for v in voxels if all((v[0] + a, v[1] + b, v[2] + c) in voxels for a, b, c in faces)}
    return np.array(sorted(voxels - inner), dtype=float)


@pytest.mark.parametrize(
    ("predicted", "true", "wanted"),
    [
        (False, False, {"dice": 1, "hd95": 0, "sensitivity": 1, "specificity": 1}),
        (True, False, {"dice": 0, "hd95": DIAGONAL, "sensitivity": 0, "specificity": 63 / 64}),
        (False, True, {"dice": 0, "hd95": DIAGONAL, "sensitivity": 0, "specificity": 1}),
        (True, True, {"dice": 1, "hd95": 0, "sensitivity": 1, "specificity": 1}),
    ],
)
def test_missed_and_invented_regions_count(predicted: bool, true: bool, wanted: dict[str, float]) -> None:
    prediction, truth = EMPTY.clone(), EMPTY.clone()
    prediction[2, 1, 1, 1] = predicted
    truth[2, 1, 1, 1] = true
    found = {figure: BratsMetric(figure)([prediction], [truth])[0, 2].item() for figure in FIGURES}
    assert found == pytest.approx(wanted)


def test_a_truth_without_negatives_has_specificity_1() -> None:
    assert (BratsMetric("specificity")([EMPTY], [EMPTY + 1]) == 1).all()


def test_distances_are_in_mm_of_the_truth_or_else_of_the_prediction() -> None:
    near, far = EMPTY.clone(), EMPTY.clone()
    near[:, 0, 0, 0] = 1
    far[:, 1, 2, 3] = 1
    fine, coarse = torch.diag(torch.tensor([1.0, 0.5, 2, 1])), torch.diag(torch.tensor([-3.0, -3, 3, 1]))
    in_fine, in_coarse = math.hypot(1, 1, 6), math.hypot(3, 6, 9)
    pairs = [
        (near, far, math.hypot(1, 2, 3)),
        (near, MetaTensor(far, affine=fine), in_fine),
        (MetaTensor(near, affine=coarse), MetaTensor(far, affine=fine), in_fine),
        (MetaTensor(near, affine=coarse), far, in_coarse),
    ]
    for prediction, truth, wanted in pairs:
        assert BratsMetric("hd95")([prediction], [truth])[0].tolist() == pytest.approx([wanted] * 3)
    batch = list_data_collate([{"y": MetaTensor(far, affine=fine)}, {"y": MetaTensor(far, affine=coarse)}])["y"]
    found = BratsMetric("hd95")(torch.stack([near, near]), batch)
    assert found[:, 0].tolist() == pytest.approx([in_fine, in_coarse])


@pytest.mark.parametrize("figure", FIGURES)
def test_lists_and_batches_agree_and_the_mean_counts_every_case_and_region(figure: str) -> None:
    generator = torch.Generator().manual_seed(0)
    y_pred, y = (torch.rand(2, 3, 3, 6, 6, 6, generator=generator) < 0.4).float()
    y[1, 2], y_pred[2, 2] = 0, 0
    of_batch, of_lists = BratsMetric(figure), BratsMetric(figure)
    of_batch(y_pred, y)
    for case in range(3):
        of_lists([y_pred[case]], [y[case]])
    buffer = of_batch.get_buffer()
    assert buffer.shape == (3, 3)
    assert torch.equal(buffer, of_lists.get_buffer())
    assert of_batch.aggregate().shape == ()
    assert of_batch.aggregate().item() == pytest.approx(np.mean(buffer.tolist()))
    of_batch.reset()
    of_batch(y, y)
    assert of_batch.aggregate() == (0 if figure == "hd95" else 1)


def test_handler_gives_an_evaluator_the_mean_and_the_figures_of_each_case() -> None:
    half = torch.ones(3, 4, 4, 4)
    half[:, :2] = 0
    items = [{"image": image, "label": torch.ones(3, 4, 4, 4)} for image in (half, EMPTY, EMPTY + 1)]
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(items), batch_size=2),
        network=torch.nn.Identity(),
        key_val_metric={"mean_dice": BratsMetricHandler("dice")},
        additional_metrics={
            "sensitivity": BratsMetricHandler("sensitivity"),
            "precision": BratsMetricHandler("sensitivity", output_transform=from_engine(["label", "pred"])),
        },
    )
    evaluator.run()
    assert evaluator.state.metrics["mean_dice"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert evaluator.state.best_metric == evaluator.state.metrics["mean_dice"]
    wanted = {"mean_dice": [2 / 3, 0, 1], "sensitivity": [0.5, 0, 1], "precision": [1, 0, 1]}
    for name, figures in wanted.items():
        found = evaluator.state.metric_details[name]
        torch.testing.assert_close(found, torch.tensor(figures, dtype=torch.float32)[:, None].expand(3, 3))


def test_an_unknown_figure_is_refused() -> None:
    with pytest.raises(BundleError, match="found 'Dice'; give one of dice, hd95, sensitivity, specificity"):
        BratsMetric("Dice")


@pytest.mark.parametrize(
    ("y_pred", "y", "message"),
    [
        ([EMPTY], [EMPTY[..., 1:]], r"y_pred: found shape \(3, 4, 4, 4\) for a truth of \(3, 4, 4, 3\)"),
        ([EMPTY], [EMPTY[:1]], r"y: found a case of shape \(1, 4, 4, 4\)"),
        (EMPTY, EMPTY, r"y_pred: found a case of shape \(4, 4, 4\)"),
        ([EMPTY + 0.5], [EMPTY], "y_pred: found values other than 0 and 1; threshold"),
        ([EMPTY], [EMPTY + math.nan], "y: found values other than 0 and 1"),
        ([EMPTY, EMPTY], [EMPTY], "y: found 1 cases for 2 predictions"),
        ([EMPTY], None, "y: found 0 cases for 1 predictions"),
        ([EMPTY], [None], "y: found a case of None"),
    ],
)
def test_what_is_no_pair_of_regions_is_refused(y_pred: Any, y: Any, message: str) -> None:
    with pytest.raises(BundleError, match=message):
        BratsMetric("dice")(y_pred, y)


def test_there_is_no_mean_of_no_cases() -> None:
    with pytest.raises(BundleError, match="hd95: no case"):
        BratsMetric("hd95").aggregate()
