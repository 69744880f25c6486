# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.base.marked_page import check_mark, write_below

MARK = "<!-- below: a program's -->"


def test_what_is_below_the_mark_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"A person's.\n{MARK}\nold tables")
    check_mark(page, MARK)
    for text in ("new", "newer\n"):
        write_below(page, MARK, text)
        assert page.read_text() == f"A person's.\n{MARK}\n\n{text}"


def test_a_page_without_a_mark_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    with pytest.raises(BundleError, match=r"page\.md: has no line <!-- below"):
        check_mark(page, MARK)
    page.write_text("A person's.")
    with pytest.raises(BundleError, match="add it where"):
        check_mark(page, MARK)
