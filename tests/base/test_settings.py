# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest

from scripts.base.settings import ARTEFACT_NAMES, TYPES
from scripts.base.settings_check import CONFIGS, allowed
from scripts.evaluation.metrics.scoring_rules import SCORING_RULES
from scripts.evaluation.robustness.artefacts import ARTEFACTS
from tests.settings_table import COMMANDS, PAGE, answer, page, parser_of, settings_of, wrong_value

BUNDLE = CONFIGS.parent
CASES = [(command, name) for command in COMMANDS for name in settings_of(command)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_passes_as_it_is(command: str) -> None:
    assert answer(command) == ""


@pytest.mark.parametrize(("command", "name"), CASES)
def test_every_setting_refuses_a_wrong_value_in_a_line_that_names_it(command: str, name: str) -> None:
    (line,) = answer(command, **{name: wrong_value(name)}).splitlines()
    assert line.startswith(f"error: {name} is ")
    assert line.endswith(f"allowed: {allowed(name)}.")


def test_every_declared_setting_is_in_a_command() -> None:
    assert {name for command in COMMANDS for name in settings_of(command)} == TYPES.keys()


def test_every_setting_at_the_top_of_a_config_is_declared() -> None:
    """What stands there plainly: a number, a text, a truth value, null or a list of these."""
    undeclared = {
        name
        for command in COMMANDS
        for name, value in parser_of(command).get().items()
        if name not in TYPES and not isinstance(value, dict) and "$" not in str(value) and "@" not in str(value)
    }
    assert undeclared == {"additional_metrics", "image_and_label", "join", "key_metric", "settings_of", "weights"}


def test_the_page_of_settings_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "run `python -m tests.settings_table`"


def test_names_are_those_of_the_evaluation() -> None:
    assert allowed("scoring_rules") == " or ".join(SCORING_RULES)
    assert list(ARTEFACT_NAMES) == list(ARTEFACTS)
