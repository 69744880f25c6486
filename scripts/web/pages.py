# SPDX-License-Identifier: Apache-2.0
"""Renders the HTML templates of all rooms, with one Jinja environment and the project's names and colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from scripts.brats import MODALITIES, NOT_FOR_DIAGNOSIS, REGION_COLOURS, REGION_NAMES, REGION_VALUES, TISSUES

WEB = Path(__file__).parent


def render(template: Path, **values: Any) -> Markup:
    """Renders an HTML template. What a template inserts is escaped, unless it is `Markup`.

    A template can import others from its own folder and from `scripts/web`, insert a style sheet or script as it is
    by `asset(name)`, and use the names and colours of `scripts.brats`. A name that is not defined is an error.

    Args:
        template: path of the template, which lies in the `web` folder of its room.
        values: variables of the template.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, WEB]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}  # regions stay in their order
    environment.globals |= {
        "asset": lambda name: _read_asset(environment, name),
        "modalities": MODALITIES,
        "note": NOT_FOR_DIAGNOSIS,
        "region_colours": REGION_COLOURS,
        "region_names": REGION_NAMES,
        "region_values": REGION_VALUES,
        "tissues": TISSUES,
    }
    return Markup(environment.get_template(template.name).render(values))


def _read_asset(environment: Environment, name: str) -> Markup:
    assert environment.loader is not None
    return Markup(environment.loader.get_source(environment, name)[0])
