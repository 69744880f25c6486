# SPDX-License-Identifier: Apache-2.0
"""The files of a case, and a hash that changes when one of them does."""

from __future__ import annotations

import glob
import os

from monai.data.utils import json_hashing
from monai.utils import ensure_tuple

from scripts.brats import Item


def hash_item(item: Item) -> bytes:
    """Hashes an item together with the size and time of its files, as `hash_func` of MONAI's caching data sets.

    MONAI's own hashes cover paths only, so that a replaced file would still be served from the cache.
    """
    # an item from elsewhere may give a path alone
    paths = [*ensure_tuple(item["image"]), *ensure_tuple(item.get("label", ()))]
    status = {file: os.stat(file) for path in paths for file in files_of(path)}
    return json_hashing([item, [(file, stat.st_size, stat.st_mtime_ns) for file, stat in status.items()]])


def files_of(path: str) -> list[str]:
    """Returns the files of a volume: itself, or those in its folder; none where it is missing."""
    return [path] if os.path.isfile(path) else sorted(glob.glob(os.path.join(glob.escape(path), "*")))
