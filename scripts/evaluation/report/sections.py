# SPDX-License-Identifier: Apache-2.0
"""An additional section of the report, which other parts of the evaluation provide."""

from __future__ import annotations

from typing import NamedTuple

from markupsafe import Markup


class Section(NamedTuple):
    """A section of the report.

    Attributes:
        title: heading of the section.
        html: content of the section, inserted without escaping.
    """

    title: str
    html: Markup
