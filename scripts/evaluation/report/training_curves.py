# SPDX-License-Identifier: Apache-2.0
"""Handler that draws the curves of a training from its TensorBoard logs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ignite.engine import Events
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.engines import Evaluator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scripts.base.results import write_result
from scripts.brats import NOT_FOR_DIAGNOSIS, REGION_COLOURS
from scripts.evaluation.report.appearance import GRID, INK, WARNING, to_png

Curve = tuple[np.ndarray, np.ndarray]  # iterations and values

MAX_POINTS = 100  # of a smoothed curve
COLOURS = {**REGION_COLOURS, "mean": INK}


class TrainingCurvesHandler:
    """Handler of an evaluator that draws losses and validation Dice of a training when it completes.

    Args:
        log_dir: folder of TensorBoard's event files; a resumed training has several.
        path: path of the PNG file.
    """

    def __init__(self, log_dir: str, *, path: str) -> None:
        self.log_dir = log_dir
        self.path = path

    def attach(self, engine: Evaluator) -> None:
        """Registers the handler on an evaluator."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Evaluator) -> None:
        """Writes the picture."""
        write_result(Path(self.path), draw_curves(read_curves(self.log_dir)))


def read_curves(log_dir: str) -> dict[str, Curve]:
    """Reads all scalars of a folder of event files. If an iteration was logged twice, the later value counts."""
    events = EventAccumulator(log_dir, size_guidance={"scalars": 0}).Reload()
    curves = {}
    for tag in events.Tags()["scalars"]:
        values = {event.step: event.value for event in events.Scalars(tag)}
        steps = sorted(values)
        curves[tag] = (np.array(steps), np.array([values[step] for step in steps]))
    return curves


def draw_curves(curves: Mapping[str, Curve]) -> bytes:
    """Returns a PNG of loss terms and validation Dice per region over iterations.

    Args:
        curves: iterations and values by tag: `train/<term>` and `validation_dice/<region>`.
    """
    figure = Figure(figsize=(9.6, 4.2), dpi=130, facecolor="white")
    losses, dice = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.06, right=0.985, bottom=0.17, top=0.9, wspace=0.16)
    for tag, curve in curves.items():
        kind, _, name = tag.partition("/")
        if kind == "train" and name != "loss":  # the weighted sum of the terms
            losses.plot(*_smooth(curve), label=name.replace("_", " "), linewidth=1.5)
        elif kind == "validation_dice":
            dice.plot(*curve, label=name, color=COLOURS[name], linewidth=2.5 if name == "mean" else 1.5, marker=".")
    _finish(losses, title="loss terms in training")
    _finish(dice, title="Dice in validation")
    dice.set_ylim(0, 1)
    figure.text(0.985, 0.02, NOT_FOR_DIAGNOSIS, color=WARNING, fontsize=9, ha="right", weight="bold")
    return to_png(figure)


def _smooth(curve: Curve) -> Curve:
    """Averages neighbouring points so that at most `MAX_POINTS` remain."""
    parts = min(MAX_POINTS, len(curve[0]))
    steps, values = (np.array([part.mean() for part in np.array_split(column, parts)]) for column in curve)
    return steps, values


def _finish(axes: Axes, *, title: str) -> None:
    axes.set_title(title, fontsize=12)
    axes.set_xlabel("iteration")
    axes.grid(color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    if axes.lines:
        axes.legend(frameon=False, fontsize=9)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
