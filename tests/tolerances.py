# SPDX-License-Identifier: Apache-2.0
"""The tests' float tolerances and where they come from; `python -m tests.tolerances` lists every use.

A bound that only one test needs stands there, with its reason in a comment on its line or above it. `pytest.approx` without a
bound, 1e-6 of the value, is for values of float64 that a few operations made.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# for comparisons in float64 of what is equal in exact arithmetic. Rounding, 1e-16 of each value, grows by the number of
# operations that follow one another, and in Adam by 1 / (sqrt(v) + eps), which ABOVE_ROUNDING bounds
EXACT = 1e-10
ABOVE_ROUNDING = 1e-6

# a float32 that was rounded once or twice: 2^-24 of the value each time
FLOAT32 = 2**-22
# elements of an affine in float32, as NIfTI stores it: places of up to 1,024 mm, rounded twice
AFFINE_MM = 1024 * FLOAT32

TESTS = Path(__file__).parent
BOUNDS = ("abs", "rel", "atol", "rtol")
CALLS = ("approx", "assert_allclose", "assert_close", "allclose", "isclose")


def uses_in(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yields line, bound and reason of each float comparison in a file; the reason is empty where none is given."""
    text = path.read_text()
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call) or ast.unparse(node.func).split(".")[-1] not in CALLS:
            continue
        bounds = [word for word in node.keywords if word.arg in BOUNDS]
        written = ", ".join(f"{word.arg}={ast.unparse(word.value)}" for word in bounds)
        yield node.lineno, written, _reason(node, bounds, lines)


def _reason(call: ast.Call, bounds: list[ast.keyword], lines: list[str]) -> str:
    names = {leaf.id for word in bounds for leaf in ast.walk(word.value) if isinstance(leaf, ast.Name)}
    if known := sorted(names & set(REASONS)):
        return "; ".join(REASONS[name] for name in known)
    if ast.unparse(call.func).endswith("approx") and not bounds:
        return "float64, a few operations"
    if bounds and all(isinstance(word.value, ast.Constant) and word.value.value == 0 for word in bounds):
        return "the same bits"
    near = [line.partition("# ")[2] for line in lines[call.lineno - 2 : call.end_lineno]]
    return " ".join(filter(None, near))


def _reasons() -> dict[str, str]:
    """Returns the comment above each constant of this module; a constant without one shares that of the one above it."""
    lines, found, comment = Path(__file__).read_text().splitlines(), {}, []
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
