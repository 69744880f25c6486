# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from ignite.engine import Engine, Events
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from torch.utils.tensorboard import SummaryWriter

from scripts.brats import REGION_COLOURS
from scripts.evaluation.report.training_curves import TrainingCurvesHandler, draw_curves, read_curves
from tests.outputs import assert_not_replaced
from tests.tolerances import FLOAT32


def log(folder: Path, values: dict[int, float], *, tag: str = "validation_dice/WT") -> None:
    with SummaryWriter(str(folder)) as writer:
        for step, value in values.items():
            writer.add_scalar(tag, value, step)


def test_a_resumed_run_is_one_curve_with_the_later_of_two_values(tmp_path: Path) -> None:
    log(tmp_path, {1: 0.1, 2: 0.2, 3: 0.9})
    log(tmp_path, {3: 0.3, 4: 0.4})
    steps, values = read_curves(str(tmp_path))["validation_dice/WT"]
    assert steps.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(values, [0.1, 0.2, 0.3, 0.4], rtol=FLOAT32)


def test_a_better_dice_is_drawn_higher_and_a_missing_one_not_at_all() -> None:
    steps = np.arange(1, 11)
    png = draw_curves(
        {"validation_dice/WT": (steps, np.full(10, 0.8)), "validation_dice/ET": (steps, np.full(10, 0.3))}
    )
    pixels = imread(io.BytesIO(png))[:, :, :3]
    right = pixels[:, pixels.shape[1] // 2 :]
    rows = {
        region: np.argwhere(np.abs(right - np.array(to_rgb(colour))).max(axis=-1) < 0.02)[:, 0]
        for region, colour in REGION_COLOURS.items()
    }
    assert np.median(rows["WT"]) < np.median(rows["ET"]) - 100
    assert len(rows["TC"]) == 0


def test_it_is_written_when_the_evaluator_ends(tmp_path: Path) -> None:
    for tag in ("train/loss", "train/dice_loss"):
        log(tmp_path, {step: 1 / step for step in range(1, 300)}, tag=tag)
    engine = Engine(lambda engine, batch: None)
    handler = TrainingCurvesHandler(str(tmp_path), path=str(tmp_path / "curves.png"))
    engine.add_event_handler(Events.COMPLETED, handler)
    engine.run([0])
    assert imread(tmp_path / "curves.png").shape[:2] == (546, 1248)
    assert_not_replaced(tmp_path / "curves.png", lambda: engine.run([0]))
