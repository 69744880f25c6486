# SPDX-License-Identifier: Apache-2.0
"""Saves volumes as NIfTI files that appear complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from monai.config import KeysCollection, PathLike
from monai.data import NibabelWriter
from monai.transforms import SaveImaged

from scripts.base.errors import BundleError


class SaveVolumed(SaveImaged):
    """MONAI's `SaveImaged` to `<output_dir>/<case>_<postfix>.nii.gz`, which appears complete or not at all.

    An earlier result therefore survives a full disk or an interrupted run.

    Args:
        keys: keys of volumes (C, H, W, D), whose metadata names the case and its geometry.
        output_dir: folder of the files.
        output_postfix: end of the file names.
        output_dtype: data type of the voxels.

    Raises:
        BundleError: where a file cannot be written.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        output_postfix: str,
        output_dtype: Any = torch.float32,
    ) -> None:
        super().__init__(
            keys,
            output_dir=output_dir,
            output_postfix=output_postfix,
            output_dtype=output_dtype,
            separate_folder=False,
            print_log=False,
            writer=_WholeWriter,
        )
        self.output_dir = output_dir

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        try:
            return super().__call__(data)
        except RuntimeError as error:  # MONAI wraps the writer's traceback in one
            reason = str(error).strip().splitlines()[-1]
            raise BundleError(f"{self.output_dir}: a result cannot be written ({reason}); make room there") from error


class _WholeWriter(NibabelWriter):
    def write(self, filename: PathLike, verbose: bool = False, **kwargs: Any) -> None:
        folder, name = os.path.split(filename)
        with TemporaryDirectory(dir=folder) as unfinished:
            super().write(os.path.join(unfinished, name), verbose=verbose, **kwargs)
            os.replace(os.path.join(unfinished, name), filename)
