# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
from ignite.engine import Events

from scripts.base.errors import BundleError
from scripts.training.progress import loss_terms
from scripts.training.skipped_steps import SkippedStepHandler
from tests.builders import make_adversarial_trainer, make_cases, make_loader


def name_cases(cases: list[dict[str, Any]], *, broken: Sequence[int] = ()) -> list[dict[str, Any]]:
    """Names cases by their number; broken ones have a voxel that is no number."""
    for index, case in enumerate(cases):
        case["case"] = f"case_{index}"
        if index in broken:
            case["image"][0, 8, 8, 8] = math.nan
    return cases


def test_a_skipped_step_is_said_counted_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    trainer = make_adversarial_trainer(loader=make_loader(name_cases(make_cases(6), broken=[3])))
    SkippedStepHandler(max_skipped=2).attach(trainer)
    counts = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda: counts.append(loss_terms(trainer.state.output).get("skipped_steps"))
    )
    trainer.run()
    assert counts == [None, 1, 1]
    (message,) = caplog.messages
    assert re.search(r"iteration 2 \(loss nan, dice_loss nan.*\), cases case_2, case_3; 1 so far", message)


def test_too_many_skipped_steps_in_a_row_end_the_run_and_name_terms_and_cases() -> None:
    trainer = make_adversarial_trainer(loader=make_loader(name_cases(make_cases(10), broken=[0, 4, 6])))
    SkippedStepHandler(max_skipped=2).attach(trainer)
    with pytest.raises(BundleError, match=r"iteration 4 \(loss nan, .*cases case_6, case_7: 2 steps in a row"):
        trainer.run()


def test_all_cases_of_an_accumulated_step_are_named() -> None:
    trainer = make_adversarial_trainer(loader=make_loader(name_cases(make_cases(8), broken=[4])), accumulate=2)
    SkippedStepHandler(max_skipped=1).attach(trainer)
    with pytest.raises(BundleError, match="cases case_4, case_5, case_6, case_7: 1 steps"):
        trainer.run()
