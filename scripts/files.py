# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

from monai.config import PathLike

from scripts.errors import BundleError


def write_whole(path: PathLike, content: bytes) -> None:
    """Writes a file whole or not at all, in place of an old one; its folders are made.

    Raises:
        BundleError: where it cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as folder:
            unfinished = Path(folder) / path.name
            unfinished.write_bytes(content)
            os.replace(unfinished, path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written ({error.strerror}); give a place that can.") from error


def make_folder(path: PathLike) -> None:
    """Makes a folder for results, and tries it before the work is done that fills it.

    Raises:
        BundleError: where nothing can be written into it.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=Path(path)).close()
    except OSError as error:
        raise BundleError(f"{path}: cannot be written into ({error.strerror}); give a folder that can.") from error
