# SPDX-License-Identifier: Apache-2.0
"""The error for mistakes of users, and how it is shown: a message, no traceback."""

from __future__ import annotations

import sys
from types import TracebackType

import torch

SMALLER = (
    "In training, lower --batch_size (and raise --accumulate as much), --patch_size or --features, with --amp true; "
    "in inference, set --max_whole_brain_voxels 0."
)


class BundleError(ValueError):
    """A user's mistake; its message of one or two lines names the file or argument, what was found and a remedy."""

    def __str__(self) -> str:
        # a data loader's worker passes errors on with their traceback as text
        return super().__str__().rpartition("BundleError: ")[2].rstrip()


def one_line(text: object) -> str:
    """Returns a text with unprintable characters escaped, such as a line break in a file's name."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in str(text))


def report_bundle_errors() -> None:
    """Makes the program print uncaught `BundleError`s and a full GPU's error as a message, without a traceback.

    The exit code is 1. The configs call this first, because MONAI wraps the errors of config expressions in its own.
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
