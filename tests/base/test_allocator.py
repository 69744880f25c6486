# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

BLOCKS_MAPPED = """
import ctypes

from scripts.base.allocator import reuse_freed_memory

class Counts(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keep")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Counts
libc.malloc.restype = ctypes.c_void_p
if {tuned}:
    reuse_freed_memory()
before = libc.mallinfo2().hblks
libc.malloc(ctypes.c_size_t(2**26))
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a matter of glibc's allocator alone")
@pytest.mark.parametrize(("tuned", "mapped"), [(False, 1), (True, 0)])
def test_a_large_block_is_no_longer_mapped_on_its_own(tuned: bool, mapped: int) -> None:
    script = BLOCKS_MAPPED.replace("{tuned}", str(tuned))
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert int(result.stdout) == mapped
