# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the page's tests."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from monai.bundle import ConfigParser

from scripts.browser.settings import settings_module
from scripts.browser.site import WEB
from tests.browser.served import serve
from tests.test_workflows import INFERENCE


@pytest.fixture(scope="module")
def config() -> ConfigParser:
    parser = ConfigParser()
    parser.read_config(INFERENCE)
    return parser


@pytest.fixture(scope="module")
def steps(browser: Any, config: ConfigParser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """An empty page from which the page's modules can be imported; it needs neither networks nor their runtime."""
    folder = tmp_path_factory.mktemp("steps")
    shutil.copytree(WEB, folder, dirs_exist_ok=True)
    (folder / "settings.js").write_text(settings_module(config))
    (folder / "index.html").write_text("<!doctype html>")
    with serve(folder) as (address, _):
        page = browser.new_page()
        page.goto(address)
        yield page
        page.close()
