# SPDX-License-Identifier: Apache-2.0
"""The metrics of all cases of an evaluation, as a MONAI metric and as a handler of an evaluator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine
from ignite.metrics.metric import reinit__is_reduced
from monai.config import TensorOrList
from monai.data import MetaTensor
from monai.handlers import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric

from scripts.base.errors import BundleError
from scripts.evaluation.metrics.case_metrics import case_metrics, select_metrics
from scripts.evaluation.metrics.scoring_rules import SCORING_RULES

ISOTROPIC = (1.0, 1.0, 1.0)
Cases = torch.Tensor | Sequence[torch.Tensor | None]


class BratsMetric(CumulativeIterationMetric):
    """Metrics of each case and region by the scoring rules of a challenge; the buffer is (N, 3, M) in float64.

    The scoring rules are classes of `scripts.evaluation.metrics.scoring_rules`:

    | name        | rules                          | metrics                                                        |
    |-------------|--------------------------------|----------------------------------------------------------------|
    | `brats2021` | `Brats2021`, as in the paper   | `dice`, `hd95`, `pooled_hd95`, `sensitivity`, `specificity`,   |
    |             |                                | `surface_dice`, `volume_ml`, `true_volume_ml`, `lesions`,      |
    |             |                                | `true_lesions`, `calibration_error`                            |
    | `brats2023` | `Brats2023`: lesion by lesion  | also `lesion_dice`, `lesion_hd95`, `missed_lesions`,           |
    |             |                                | `false_lesions`                                                |
    | `brats2025` | `Brats2025`: lesions matched   | also `nsd`, `matched_dice`, `matched_nsd`, `matched_hd95`,     |
    |             | one to one                     | `matched_lesions`, `missed_lesions`, `false_lesions`           |
    | `monai`     | `Monai`: NaN as MONAI gives it | as `brats2021`                                                 |

    If a case has no truth, metrics that need one are NaN.

    Args:
        scoring_rules: one of `SCORING_RULES`.
        metrics: names of the metrics to compute, or None for all of the scoring rules.
        spacing: voxel size in mm along each axis. None: that of the truth, or of the prediction, if one is a
            `MetaTensor`, else 1 mm. MONAI's transforms make `MetaTensor`s of 1 mm out of plain tensors, so tensors from
            a cache, which are plain, need it.

    Raises:
        BundleError: if the scoring rules or a metric are unknown.
    """

    def __init__(
        self,
        *,
        scoring_rules: str = "brats2021",
        metrics: Sequence[str] | None = None,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.scoring_rules = scoring_rules
        self.metrics = select_metrics(scoring_rules, metrics)
        self.spacing = spacing

    def __call__(
        self,
        y_pred: TensorOrList,
        y: Cases | None = None,
        probabilities: Cases | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """Adds cases and returns their metrics, (B, 3, M).

        Args:
            y_pred: predicted regions, binary: (B, 3, H, W, D), or B tensors of (3, H, W, D).
            y: true regions in the same form; None, also as an element of the list, if there is no truth.
            probabilities: probabilities of the regions in the same form, for the calibration error, or None.
            kwargs: not used.

        Raises:
            BundleError: if the numbers of cases differ, or as `case_metrics` raises it.
        """
        metrics = self._compute_tensor(y_pred, y, probabilities)
        self.extend(metrics)
        return metrics

    def _compute_tensor(  # type: ignore[override]
        self, y_pred: TensorOrList, y: Cases | None = None, probabilities: Cases | None = None
    ) -> torch.Tensor:
        predictions = list(y_pred)
        truths, chances = ([None] * len(predictions) if x is None else list(x) for x in (y, probabilities))
        for name, cases in (("y", truths), ("probabilities", chances)):
            if len(cases) != len(predictions):
                found = f"{len(cases)} cases for {len(predictions)} predictions"
                raise BundleError(f"{name}: found {found}; give one for each, None if there is none.")
        rows = [self._of_case(*case) for case in zip(predictions, truths, chances)]
        # on the CPU, for not every device has float64
        return torch.from_numpy(np.array(rows))

    def _of_case(
        self, prediction: torch.Tensor, truth: torch.Tensor | None, probabilities: torch.Tensor | None
    ) -> np.ndarray:
        own = (m.pixdim.tolist() for m in (truth, prediction) if isinstance(m, MetaTensor))
        metrics = case_metrics(
            prediction,
            truth,
            spacing=self.spacing or next(own, ISOTROPIC),
            scoring_rules=self.scoring_rules,
            probabilities=probabilities,
            metrics=self.metrics,
        )
        return np.transpose([metrics[name] for name in self.metrics])

    def aggregate(self) -> torch.Tensor:
        """Returns the mean of each metric, (M,): over regions, then over cases, without NaN, as MONAI does.

        Raises:
            BundleError: if there is no case yet.
        """
        buffer = self.get_buffer()
        if buffer is None:
            raise BundleError(f"{', '.join(self.metrics)}: no case to take the mean of; evaluate at least one.")
        return buffer.nanmean(dim=1).nanmean(dim=0)


class BratsMetricHandler(IgniteMetricHandler):
    """Handler that computes all metrics of the scoring rules in one pass over an evaluator's output.

    The handler's own value is the mean of the headline metric of the scoring rules, such as `dice`. After an epoch
    `engine.state.metric_details` contains the (N, 3) values of each metric by its name, those of the headline also by
    the name under which the handler is attached; `engine.state.metrics` contains the means.

    Args:
        scoring_rules: one of `SCORING_RULES`.
        metrics: names of the metrics to compute, including the headline, or None for all of the scoring rules.
        spacing: voxel size in mm along each axis; None: as in `BratsMetric`.
        output_transform: returns predictions, truths and, optionally, probabilities of `engine.state.output`.

    Raises:
        BundleError: if the scoring rules or a metric are unknown, or the headline is missing.
    """

    def __init__(
        self,
        *,
        scoring_rules: str = "brats2021",
        metrics: Sequence[str] | None = None,
        spacing: Sequence[float] | None = None,
        output_transform: Callable | None = None,
    ) -> None:
        self.metric = BratsMetric(scoring_rules=scoring_rules, metrics=metrics, spacing=spacing)
        self.headline = SCORING_RULES[scoring_rules].headline
        if self.headline not in self.metric.metrics:
            found = ", ".join(self.metric.metrics)
            raise BundleError(f"metrics: found {found}; add {self.headline}, the value of a {scoring_rules} handler.")
        super().__init__(metric_fn=self.metric, output_transform=output_transform or from_output(["pred", "label"]))

    def attach(self, engine: Engine, name: str) -> None:  # type: ignore[override]
        """Registers the handler on an evaluator.

        Raises:
            BundleError: if the name is that of a metric other than the headline.
        """
        if name in self.metric.metrics and name != self.headline:
            raise BundleError(f"name of the metric: found {name}, whose value would be {self.headline}; take another.")
        super().attach(engine, name)

    def iteration_completed(self, engine: Engine) -> None:
        """Updates with the output as it is; Ignite's own method splits pairs of lists and refuses three lists."""
        self.update(self._output_transform(engine.state.output))

    @reinit__is_reduced
    def update(self, output: Sequence[Any]) -> None:
        """Adds cases: (predictions, truths) or (predictions, truths, probabilities); see `BratsMetric`."""
        self.metric(*output)

    def compute(self) -> float:
        """Returns the mean of the headline metric and stores all metrics in the engine's state."""
        assert self._engine is not None
        means = dict(zip(self.metric.metrics, self.metric.aggregate().tolist()))
        details = dict(zip(self.metric.metrics, self.metric.get_buffer().unbind(dim=-1)))
        state: Any = self._engine.state
        state.metric_details.update({self._name: details[self.headline]} | details)
        state.metrics.update(means)
        self._is_reduced = True
        return means[self.headline]


def from_output(keys: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Returns a function that takes values by key from an engine's output; missing ones are None."""

    def take(output: Any) -> tuple[Any, ...]:
        if isinstance(output, dict):
            return tuple(output.get(key) for key in keys)
        return tuple([item.get(key) for item in output] for key in keys)

    return take
