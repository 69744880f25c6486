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

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from monai.config import TensorOrList
from monai.data import MetaTensor
from monai.handlers import IgniteMetricHandler, from_engine
from monai.metrics import CumulativeIterationMetric, compute_hausdorff_distance
from monai.utils import convert_to_tensor

from scripts.errors import BundleError

REGIONS = ("TC", "WT", "ET")
FIGURES = ("dice", "hd95", "sensitivity", "specificity")
# mm, of a missed or an invented region: the diagonal of a BraTS volume, 373.13
WORST_HD95 = math.dist((0, 0, 0), (240, 240, 155))
PRED_AND_LABEL = from_engine(["pred", "label"])


class BratsMetric(CumulativeIterationMetric):
    """One figure per case and region, as BraTS 2021 counts it: no case is ever skipped.

    | region        | dice              | hd95      | sensitivity  | specificity  |
    |---------------|-------------------|-----------|--------------|--------------|
    | in both masks | 2TP / (2TP+FP+FN) | in mm     | TP / (TP+FN) | TN / (TN+FP) |
    | in one only   | 0                 | 373.13 mm | 0            | TN / (TN+FP) |
    | in neither    | 1                 | 0         | 1            | 1            |

    So an invented region has sensitivity 0, although it has no true voxel to find. Where no voxel is negative,
    specificity is 1.

    HD95 is the larger of the two directed 95th percentiles of the distances between surfaces. A surface is what MONAI
    takes for it: the region's voxels with at least one of their six face neighbours outside the region, and outside
    the volume is outside the region. Voxel spacing is that of the truth, or else of the prediction, where one is a
    `MetaTensor`; where both are plain tensors it is the one given.

    Args:
        figure: one of `FIGURES`.
        spacing: of plain tensors, in mm along each axis.

    Raises:
        BundleError: if there is no such figure.
    """

    def __init__(self, figure: str, *, spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> None:
        super().__init__()
        if figure not in FIGURES:
            raise BundleError(f"figure: found {figure!r}; give one of {', '.join(FIGURES)}.")
        self.figure = figure
        self.spacing = spacing

    def __call__(self, y_pred: TensorOrList, y: TensorOrList | None = None, **kwargs: Any) -> Any:
        """Adds cases and returns the figure of each case and region, (B, 3).

        Args:
            y_pred: predicted regions, binary: (B, 3, H, W, D), or B tensors of (3, H, W, D).
            y: true regions, in the same form.
            kwargs: none are used.

        Raises:
            BundleError: if truth is missing, shapes differ or are no regions, or values are not 0 and 1.
        """
        predictions, truths = list(y_pred), [] if y is None else list(y)
        if len(predictions) != len(truths):
            raise BundleError(f"y: found {len(truths)} cases for {len(predictions)} predictions; give one for each.")
        for prediction, truth in zip(predictions, truths):
            _check_regions(prediction, truth)
        return super().__call__(predictions, truths)

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor, **kwargs: Any) -> torch.Tensor:  # type: ignore[override]
        spacing = next((m[0].pixdim.tolist() for m in (y, y_pred) if isinstance(m[0], MetaTensor)), self.spacing)
        prediction, truth = (convert_to_tensor(mask[0], dtype=torch.bool, track_meta=False) for mask in (y_pred, y))
        figures = [region_figure(self.figure, p, t, spacing=spacing) for p, t in zip(prediction, truth)]
        return torch.tensor([figures], device=truth.device)

    def aggregate(self) -> torch.Tensor:
        """Returns the mean over all cases and regions, as a scalar; raises BundleError before the first case."""
        buffer = self.get_buffer()
        if buffer is None:
            raise BundleError(f"{self.figure}: no case to take the mean of; evaluate at least one.")
        return buffer.mean()


class BratsMetricHandler(IgniteMetricHandler):
    """Puts a figure's mean into `engine.state.metrics` and its (N, 3) into `engine.state.metric_details`.

    Args:
        figure: one of `FIGURES`.
        spacing: of plain tensors, in mm along each axis.
        output_transform: takes predictions and truths from `engine.state.output`.
    """

    def __init__(
        self,
        figure: str,
        *,
        spacing: Sequence[float] = (1.0, 1.0, 1.0),
        output_transform: Callable = PRED_AND_LABEL,
    ) -> None:
        super().__init__(
            metric_fn=BratsMetric(figure, spacing=spacing), output_transform=output_transform, save_details=True
        )


def region_figure(figure: str, prediction: torch.Tensor, truth: torch.Tensor, *, spacing: Sequence[float]) -> float:
    """One region's figure by the rules of `BratsMetric`, from boolean masks (H, W, D) and a spacing in mm."""
    hits = _count(prediction & truth)
    predicted, actual = _count(prediction), _count(truth)
    if figure == "dice":
        return _share(2 * hits, predicted + actual)
    if figure == "sensitivity":
        return _share(hits, actual or predicted)
    if figure == "specificity":
        negatives = truth.numel() - actual
        return _share(negatives - (predicted - hits), negatives)
    if not predicted or not actual:
        return WORST_HD95 if predicted or actual else 0.0
    # On the CPU MONAI searches a tree of surface voxels; elsewhere it fills the whole box with distances.
    p, t = prediction.cpu()[None, None], truth.cpu()[None, None]
    with warnings.catch_warnings():
        # MONAI 1.6.1 warns of an argument that it gives itself
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy")
        return compute_hausdorff_distance(p, t, include_background=True, percentile=95, spacing=list(spacing)).item()


def _check_regions(prediction: Any, truth: Any) -> None:
    for name, mask in (("y_pred", prediction), ("y", truth)):
        if not isinstance(mask, torch.Tensor) or mask.ndim != 4 or len(mask) != len(REGIONS):
            found = f"shape {tuple(mask.shape)}" if isinstance(mask, torch.Tensor) else mask
            raise BundleError(f"{name}: found a case of {found}; give {', '.join(REGIONS)} as a tensor (3, H, W, D).")
        if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
            raise BundleError(f"{name}: found values other than 0 and 1; threshold the probabilities first.")
    if prediction.shape != truth.shape:
        shapes = f"{tuple(prediction.shape)} for a truth of {tuple(truth.shape)}"
        raise BundleError(f"y_pred: found shape {shapes}; bring both to one grid.")


def _count(mask: torch.Tensor) -> int:
    return int(mask.count_nonzero())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
