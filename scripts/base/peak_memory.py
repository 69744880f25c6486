# SPDX-License-Identifier: Apache-2.0
"""The peak memory of this process."""

from __future__ import annotations

import math
import sys

from monai.utils import optional_import

resource, has_resource = optional_import("resource")  # not on Windows
UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, of `ru_maxrss`


def peak_gb() -> float:
    """Returns the peak memory in GB of this process, or of a command that it ran; NaN where the system has no such."""
    if not has_resource:
        return math.nan
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(who).ru_maxrss for who in whose) * UNIT / 1e9
