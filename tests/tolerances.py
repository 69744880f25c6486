# SPDX-License-Identifier: Apache-2.0
"""The tests' float tolerances and where they come from; `python -m tests.tolerances` lists every use.

A bound that only one test needs stands there, with its reason in a comment on its line or above it. `pytest.approx`
without a bound, 1e-6 of the value, is for values of float64 that a few operations made.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# for comparisons in float64 of what is equal in exact arithmetic. Rounding, 1e-16 of each value, grows by the number of
# operations that follow one another, and in Adam by 1 / (sqrt(v) + eps), which ABOVE_ROUNDING bounds
EXACT = 1e-10
ABOVE_ROUNDING = 1e-6

# a float32 after up to four roundings, by 2^-24 of its size each
FLOAT32 = 2**-22
# a number with six significant digits, as in all CSV files (scripts/base/text_files.py): half a unit of the last digit
SIX_DIGITS = 5e-6

TESTS = Path(__file__).parent
BOUNDS = ("abs", "rel", "atol", "rtol")
CALLS = ("approx", "assert_allclose", "assert_close", "allclose", "isclose")


def uses_in(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yields line, bound and reason of each float comparison in a file; the reason is empty where none is given."""
    text = path.read_text()
    lines = text.splitlines()
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda call: call.lineno):
        if ast.unparse(call.func).split(".")[-1] in CALLS:
            bounds = [word for word in call.keywords if word.arg in BOUNDS]
            written = ", ".join(f"{word.arg}={ast.unparse(word.value)}" for word in bounds)
            yield call.lineno, written, _reason(call, bounds, lines)


def _reason(call: ast.Call, bounds: list[ast.keyword], lines: list[str]) -> str:
    names = {leaf.id for word in bounds for leaf in ast.walk(word.value) if isinstance(leaf, ast.Name)}
    reasons = [REASONS[name] for name in sorted(names & set(REASONS))]
    if ast.unparse(call.func).endswith("approx") and not bounds:
        reasons.append("float64, a few operations")
    if bounds and all(isinstance(word.value, ast.Constant) and word.value.value == 0 for word in bounds):
        reasons.append("the same bits")
    first = call.lineno - 1
    while lines[first - 1].lstrip().startswith("# "):
        first -= 1
    near = [line.partition("# ")[2] for line in lines[first : call.end_lineno]]
    comment = " ".join(text for text in near if text and not text.startswith(("type:", "noqa")))
    return "; ".join(filter(None, [*reasons, comment]))


def _reasons() -> dict[str, str]:
    """Returns the comment above each constant of this module; one without a comment shares that of the one before."""
    lines = Path(__file__).read_text().splitlines()
    found: dict[str, str] = {}
    comment: list[str] = []
    for before, line in zip(["", *lines], lines):
        if line.startswith("# "):
            comment = [*comment, line[2:]] if before.startswith("# ") else [line[2:]]
        elif " = " in line and line.split(" = ")[0].isupper():
            found[line.split(" = ")[0]] = " ".join(comment)
    return found


REASONS = _reasons()

if __name__ == "__main__":
    for path in sorted(TESTS.rglob("*.py")):
        for line, bound, reason in uses_in(path):
            print(f"{path.relative_to(TESTS)}:{line}\t{bound or '(default)'}\t{reason or 'NONE'}")
