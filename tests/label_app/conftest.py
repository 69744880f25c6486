# SPDX-License-Identifier: Apache-2.0
"""The review page as a fixture."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.label_app.opened_page import open_page

if TYPE_CHECKING:
    from tests.label_app.running_server import Server


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """The page, opened; it may ask nobody but its server, and nothing but refused requests may show on the console."""
    said: list[str] = []
    asked: list[str] = []
    opened = open_page(browser, server, "Dr. A")
    opened.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: said.append(f"page error: {error}"))
    opened.on("request", lambda request: asked.append(request.url))
    yield opened
    assert [line for line in said if "ReadPixels" not in line and "responded with a status of 4" not in line] == []
    assert [url for url in asked if not url.startswith((server.url, "data:", "blob:"))] == []
    opened.context.close()
