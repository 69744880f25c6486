# SPDX-License-Identifier: Apache-2.0
"""The check of the settings of a config, which brings each value to its type before anything else runs."""

from __future__ import annotations

import difflib
import functools
import inspect
import itertools
import sys
from pathlib import Path
from typing import Any

from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser
from monai.bundle.reference_resolver import ReferenceResolver
from pydantic import ValidationError

from scripts.base.errors import BundleError, one_line
from scripts.base.settings import TYPES

CONFIGS = Path(__file__).parents[2] / "configs"
CODE = ("$", "@", "%")  # how a text begins that MONAI evaluates, or replaces by another item


def check_settings(parser: ConfigParser | None = None) -> None:
    """Checks every setting of a config and replaces it by the value of its type, as 'false' by False.

    Expressions (`$...`, `@...`) are code and left as they are. Names are unknown that neither a config in use defines
    nor anything refers to; the config lists the files in use as `settings_of`.

    Args:
        parser: whose config is checked; by default the one that evaluates the expression which calls this function.

    Raises:
        BundleError: with a line for each wrong value and unknown name.
    """
    parser = _evaluating_parser() if parser is None else parser
    config = parser.get()
    plain = {name: value for name, value in config.items() if _is_plain(value)}
    unknown = _unknown(plain, config)
    typed, faults = {}, [unknown_name(name, config["settings_of"]) for name in unknown]
    for name in (plain.keys() & TYPES.keys()) - unknown:
        try:
            typed[name] = to_type(name, as_typed(name, plain[name]))
        except BundleError as error:
            faults.append(str(error))
    if faults:
        raise BundleError("\nerror: ".join(sorted(faults)))
    parser.update(typed)
    if "val_interval" in config:
        check_epochs(*(parser.get_parsed_content(name) for name in ("epochs", "val_interval")))
    parser.parse()  # what the expressions above resolved may change, as the rank of a process


def as_typed(name: str, value: Any) -> Any:
    """Returns a value as it stands on the command line: Fire reads 2024_05 as 202405, and run#1 as run."""
    words = dict(itertools.pairwise(sys.argv))
    words |= dict(word.split("=", 1) for word in sys.argv if "=" in word)
    text = words.get(f"--{name}", "")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return text if (is_number or "#" in text) and DefaultParseValue(text) == value else value


def to_type(name: str, value: Any) -> Any:
    """Returns the value of a setting in its type; `null` as text is None.

    Raises:
        BundleError: when the value is not allowed.
    """
    try:
        return TYPES[name].validate_python(None if value == "null" else value)
    except (ValidationError, ValueError, RuntimeError) as error:
        found = "null" if value is None else one_line(value).replace("::", "#")
        raise BundleError(f"{name} is {found}; allowed: {allowed(name)}.") from error


def allowed(name: str) -> str:
    """Returns the allowed values of a setting in words."""
    schema = TYPES[name].json_schema()
    words = [_in_words(option) for option in schema.get("anyOf", [schema])]
    return " or ".join(words)


def unknown_name(name: str, files: list[str]) -> str:
    """Returns what to say of a name that the config files in use do not define: whose it is, or the nearest name."""
    if name in TYPES:
        owners = [path.name for path in sorted(CONFIGS.glob("*.yaml")) if name in names_in(path.name)]
        return f"{name} is a setting of {' and '.join(owners)}, not of {' and '.join(files)}."
    names = [setting for file in files for setting in names_in(file) if setting in TYPES]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0)[0]
    return f"{one_line(name)} is no setting of {' and '.join(files)}; did you mean {nearest}?"


def check_epochs(epochs: int, val_interval: int) -> None:
    """Checks that a training is validated at all.

    Raises:
        BundleError: when no epoch would be validated.
    """
    if val_interval > epochs:
        raise BundleError(f"val_interval is {val_interval} of {epochs} epochs: no epoch would be validated; lower it.")


def check_batches(training_cases: int, *, batch_size: int, accumulate: int) -> None:
    """Checks that the cases of one process fill a batch and an optimiser's step.

    Raises:
        BundleError: when there are too few of them.
    """
    if batch_size > training_cases:
        raise BundleError(
            f"batch_size is {batch_size}, but a process has {training_cases} cases to train with; lower it."
        )
    if batch_size * accumulate > training_cases:
        raise BundleError(
            f"accumulate is {accumulate} at batch_size {batch_size}, but a process has {training_cases} cases to train "
            f"with; lower it, for a step cannot have more than an epoch."
        )


def _evaluating_parser() -> ConfigParser:
    # MONAI passes no parser to an expression, but it is among the callers
    for caller in inspect.stack(context=0):
        if isinstance(parser := caller.frame.f_locals.get("self"), ConfigParser):
            return parser
    raise RuntimeError("check_settings() without a parser is for expressions in a config.")


def _is_plain(value: Any) -> bool:
    """Tells whether a value is neither code nor a component, nor holds any."""
    if isinstance(value, dict):
        return "_target_" not in value and all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return not (isinstance(value, str) and value.startswith(CODE))


def _unknown(plain: dict[str, Any], config: dict[str, Any]) -> set[str]:
    defined = {name for file in config["settings_of"] for name in names_in(file)}
    references = ReferenceResolver.find_refs_in_config(config, id="")
    used = {reference.split(ReferenceResolver.sep)[0] for reference in references}
    return plain.keys() - defined - used - {ConfigParser.meta_key}


@functools.cache
def names_in(file: str) -> list[str]:
    """Returns the names at the top of a file of configs/."""
    content = ConfigParser.load_config_file(CONFIGS / file)
    return [*content, *content.get("configs", {})]  # where a file for MONAI's tracking has its settings


def _in_words(option: dict[str, Any]) -> str:
    if "description" in option:
        return option["description"]
    if "enum" in option:
        return " or ".join(option["enum"])
    return {"boolean": "true or false", "null": "null"}[option["type"]]
