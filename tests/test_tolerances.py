# SPDX-License-Identifier: Apache-2.0
"""Every float comparison of the tests says where its tolerance comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tolerances import TESTS, uses_in


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_every_tolerance_has_a_reason(path: Path) -> None:
    assert [f"line {line}: {bound or 'no bound'}" for line, bound, reason in uses_in(path) if not reason] == []


def test_a_tolerance_without_a_reason_is_found(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    uses = ["assert a == approx(b, abs=1e-3)", "", "# digits of the page", "assert a == approx(b, abs=1e-3)"]
    file.write_text("\n".join([*uses, "allclose(a, b)  # type: ignore"]))
    assert [bool(reason) for _, _, reason in uses_in(file)] == [False, True, False]
