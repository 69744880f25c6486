# SPDX-License-Identifier: Apache-2.0
"""Fixtures and markers of the whole suite."""

from __future__ import annotations

import inspect
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests import commands

# before PyTorch is imported: two files of tests run at a time, each of them on one core
os.environ.setdefault("OMP_NUM_THREADS", "1")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# WebGL 2 without a GPU
FLAGS = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks as `quick` what starts no program: no command of the bundle, no other process and no browser."""
    for item in items:
        if not isinstance(item, pytest.Function) or item.get_closest_marker("slow") or item.get_closest_marker("label"):
            continue
        fixtures = [definition.func for found in item._fixtureinfo.name2fixturedefs.values() for definition in found]
        starts = any(_starts_program(function, set()) for function in (item.function, *fixtures))
        if not starts and "browser" not in item.fixturenames:
            item.add_marker("quick")


def _starts_program(found: Any, seen: set[int]) -> bool:
    """Follows the names that a function of the tests, or a class's methods, use."""
    if found in (subprocess, commands) or getattr(found, "__module__", None) == commands.__name__:
        return True
    if id(found) in seen or not str(getattr(found, "__module__", "")).startswith("tests"):
        return False
    seen.add(id(found))
    if isinstance(found, type):
        return any(_starts_program(method, seen) for method in vars(found).values())
    function = inspect.unwrap(found) if callable(found) else None
    if not inspect.isfunction(function):
        return False
    used = (function.__globals__.get(name) for name in function.__code__.co_names)
    return any(_starts_program(other, seen) for other in used if inspect.ismodule(other) or callable(other))


def pytest_sessionfinish() -> None:
    """Ends the server of commands, which the first command started."""
    commands.stop_server()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; the tests that need one are skipped where there is none."""
    if CHROMIUM is None:
        pytest.skip("no chromium on PATH")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()
