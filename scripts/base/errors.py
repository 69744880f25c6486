# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys
from types import TracebackType

import torch

SMALLER = (
    "In training, lower --batch_size (and raise --accumulate as much), --patch_size or --features, with --amp true; "
    "in inference, set --max_whole_brain_voxels 0."
)


class BundleError(ValueError):
    """A user's mistake: its message of one or two lines names the file or argument, what was found and the remedy."""

    def __str__(self) -> str:
        # out of a loader's worker comes a traceback as text
        return super().__str__().rpartition("BundleError: ")[2].rstrip()


def one_line(text: object) -> str:
    """Gives a text with what cannot be printed, as a line break in a file's name, escaped."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(text))


def report_bundle_errors() -> None:
    """Makes an uncaught `BundleError`, and a full GPU, end the program with a message and exit code 1, no traceback.

    The configs call this first, because MONAI wraps what a config expression raises into errors of its own.
    """
    sys.excepthook = _print_bundle_error


def _print_bundle_error(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (BundleError, torch.OutOfMemoryError)):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        sys.__excepthook__(kind, error, trace)
    elif isinstance(cause, BundleError):
        print(f"error: {cause}", file=sys.stderr)
    else:
        print(f"error: the GPU's memory is full ({str(cause).splitlines()[0]})\n{SMALLER}", file=sys.stderr)
