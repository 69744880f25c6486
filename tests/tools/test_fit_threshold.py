# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from scripts.tools.fit_threshold import SHIFTS, choose, describe, find_dice
from tests.commands import run
from tests.tools.test_train_critic import make_inputs


def record(logits: list[float], truth: list[int]) -> dict[str, torch.Tensor]:
    """A case of some voxels, all regions alike."""
    shape = (3, 1, 1, len(logits))
    return {"logits": torch.tensor(logits).expand(shape).half(), "label": torch.tensor(truth).expand(shape)}


def at(dice: torch.Tensor, shift: float) -> torch.Tensor:
    return dice[..., int((SHIFTS - shift).abs().argmin())]


def test_dice_is_that_of_the_threshold_that_a_shift_stands_for() -> None:
    dice = find_dice([record([-1, 0.45, 0.95, 3], [0, 0, 1, 1]), record([-9, -9, -9, -9], [0, 0, 0, 0])])
    assert at(dice, 0)[0].tolist() == [2 * 2 / 5] * 3
    assert at(dice, 0.5)[0].tolist() == [1] * 3
    assert at(dice, 1)[0].tolist() == [2 * 1 / 3] * 3
    assert (dice[1] == 1).all()  # nothing to find, nothing found


def test_the_best_shift_is_chosen_and_the_smallest_of_equal_ones() -> None:
    dice = find_dice([record([-1, 0.45, 0.95, 3], [0, 0, 1, 1])])
    assert choose(dice).tolist() == pytest.approx([0.5] * 3)
    assert choose(find_dice([record([-5, 5], [0, 1])])).tolist() == [0] * 3


def test_no_case_takes_part_in_its_own_choice() -> None:
    large, small = record([0.45, 3], [0, 1]), record([0.45, 3], [1, 1])
    dice = find_dice([large, large, small])
    text = describe(dice, choose(dice)).splitlines()[0]
    # 0.5 is best for two of three. The third case alone would keep 0; for each of the others the first and the third
    # are drawn: 2/3 + 1 against 1 + 2/3, and the smallest shift is taken
    assert text == (
        "TC: threshold 0.62, mean Dice 0.7778 -> 0.8889; chosen for each case by the others: "
        f"{(2 / 3 + 2 / 3 + 2 / 3) / 3:.4f}"
    )


def test_the_command_moves_the_bias_by_what_it_says_and_nothing_else(tmp_path: Path) -> None:
    words = make_inputs(tmp_path)
    options = [*words[:3], *words[5:7], *words[-2:], "--output", str(tmp_path / "moved.pt")]
    result = run("scripts.tools.fit_threshold", *options)
    assert result.returncode == 0, result.stderr
    said = json.loads(result.stdout.partition("shifts ")[2].partition(" subtracted")[0])
    before, after = (torch.load(tmp_path / name, weights_only=True) for name in ("model.pt", "moved.pt"))
    moved = before.pop("final_conv.bias") - after.pop("final_conv.bias")
    assert moved.tolist() == pytest.approx(said, abs=1e-5)  # float32 biases of a few units
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
