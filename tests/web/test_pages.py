# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from scripts.brats import MODALITIES, REGION_NAMES
from scripts.web.pages import render


def write_template(folder: Path, text: str) -> Path:
    path = folder / "page.html"
    path.write_text(text)
    return path


def test_inserted_text_is_escaped_and_a_rendered_template_can_be_inserted_in_another(tmp_path: Path) -> None:
    inner = render(write_template(tmp_path, "<b>{{ name }}</b>"), name="<script>")
    assert inner == "<b>&lt;script&gt;</b>"
    assert (
        render(write_template(tmp_path, "{{ inner }} {{ inner ~ '<i>' }}"), inner=inner) == f"{inner} {inner}&lt;i&gt;"
    )


def test_assets_are_inserted_as_they_are_from_the_templates_folder_first(tmp_path: Path) -> None:
    (tmp_path / "own.js").write_text("if (a < b && '{{ not a template }}') {}")
    page = write_template(tmp_path, "{{ asset('own.js') }}{{ asset('base.css') }}")
    assert render(page).startswith("if (a < b && '{{ not a template }}') {}/* Style")
    (tmp_path / "base.css").write_text("own style")
    assert render(page).endswith("own style")


def test_a_name_that_is_not_defined_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="title"):
        render(write_template(tmp_path, "{{ title }}"))


def test_templates_know_the_projects_names_and_share_macros(tmp_path: Path) -> None:
    page = write_template(
        tmp_path,
        "{% from 'tables.html' import table %}{% from 'controls.html' import modality_buttons, overlay_slider %}"
        "{{ table(['region', 'name'], region_names.items()|list) }}{{ modality_buttons() }}"
        "{{ overlay_slider('truth', 'Truth', 40) }}{{ note }}",
    )
    html = render(page)
    for short, name in REGION_NAMES.items():
        assert f'<tr><th scope="row">{short}</th><td>{name}</td></tr>' in html
    for modality in MODALITIES:
        assert f'data-modality="{modality}">{modality}</button>' in html
    assert '<span>Truth</span><input type="range" min="0" max="100" value="40" data-overlay="truth">' in html
    assert html.endswith("Not for diagnosis.")
