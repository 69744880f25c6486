# SPDX-License-Identifier: Apache-2.0
"""The first step of every command."""

from __future__ import annotations

from scripts.base.allocator import reuse_freed_memory
from scripts.base.errors import report_bundle_errors
from scripts.base.settings_check import check_settings


def prepare() -> None:
    """Checks the settings of the config that calls this first; from then on, a user's mistake ends with one line.

    Raises:
        BundleError: see `check_settings`.
    """
    report_bundle_errors()
    check_settings()
    reuse_freed_memory()
