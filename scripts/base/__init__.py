# SPDX-License-Identifier: Apache-2.0
"""What every room stands on: settings, errors, files, processes and weights.

Nothing here knows of tumours or of the method.
"""

from scripts.base.allocator import keep_freed_memory
from scripts.base.atomic_files import make_folder
from scripts.base.distributed import SameWeightsHandler, join, leave, own_device, share
from scripts.base.errors import report_bundle_errors
from scripts.base.settings import check_settings
from scripts.base.weights import load_copies, load_weights

__all__ = [
    "SameWeightsHandler",
    "check_settings",
    "join",
    "keep_freed_memory",
    "leave",
    "load_copies",
    "load_weights",
    "make_folder",
    "own_device",
    "report_bundle_errors",
    "share",
]
