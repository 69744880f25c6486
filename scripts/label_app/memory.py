# SPDX-License-Identifier: Apache-2.0
"""Memory that the C library keeps after it was freed."""

from __future__ import annotations

import ctypes
import gc
import sys


def give_back_memory() -> None:
    """Returns freed memory to the system: a server segments now and then, and lies idle in between."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
        if trim:
            trim(0)
