# SPDX-License-Identifier: Apache-2.0
"""Refusal of config expressions in what a client sends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scripts.base.errors import BundleError, one_line


def refuse_expressions(content: Any) -> None:
    """Refuses what a client sent, where MONAI's config parser would evaluate it.

    Raises:
        BundleError: for a text that begins with $, @ or %, or for a component (`_target_`), however deep it lies.
    """
    if isinstance(content, Mapping):
        if "_target_" in content:
            raise BundleError("a request names a `_target_`; components stand in the bundle's configs only")
        for name, value in content.items():
            refuse_expressions(name)
            refuse_expressions(value)
    elif isinstance(content, (list, tuple)):
        for value in content:
            refuse_expressions(value)
    elif isinstance(content, str) and content.lstrip().startswith(("$", "@", "%")):
        raise BundleError(f"a request holds {one_line(content)[:40]!r}; text that begins with $, @ or % is refused")
