# SPDX-License-Identifier: Apache-2.0
"""Saves volumes as NIfTI files that appear complete or not at all, and never replaces a file of somebody else."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from isal import igzip
from monai.config import KeysCollection, PathLike
from monai.data import NibabelWriter
from monai.transforms import SaveImaged

from scripts.base.atomic_files import write_atomically
from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.own_files import is_own_file, mark_as_own


class SaveVolumed(SaveImaged):
    """MONAI's `SaveImaged` to `<output_dir>/<case>_<postfix>.nii.gz`, which appears complete or not at all.

    An earlier result therefore survives a full disk or an interrupted run. The header is marked (`own_files`), and only
    a file with this mark is replaced.

    Args:
        keys: keys of volumes (C, H, W, D), whose metadata names the case and its geometry.
        output_dir: folder of the files.
        output_postfix: end of the file names.
        output_dtype: data type of the voxels.
        step: for values in [0, 1], which are stored as whole numbers of this step; the header's `scl_slope` is the
            step, so that every NIfTI reader returns [0, 1]. None stores the values themselves.

    Raises:
        BundleError: where a file cannot be written, or would replace one that this bundle did not write.
    """

    def __init__(
        self,
        keys: KeysCollection,
        output_dir: str | Path,
        output_postfix: str,
        output_dtype: Any = torch.float32,
        *,
        step: float | None = None,
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
        self.saver.set_options(write_kwargs={"step": step})
        self.output_dir = output_dir

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        try:
            return super().__call__(data)
        except RuntimeError as error:  # MONAI wraps the writer's traceback in one
            reason = str(error).strip().splitlines()[-1]
            if "BundleError: " in reason:
                raise BundleError(reason) from error
            raise BundleError(f"{self.output_dir}: a result cannot be written ({reason}); make room there") from error


class _WholeWriter(NibabelWriter):
    def write(self, filename: PathLike, verbose: bool = False, *, step: float | None = None, **kwargs: Any) -> None:
        refuse_replacing(filename)
        affine = np.asarray(self.affine)
        voxels = self.data_obj if step is None else np.rint(self.data_obj.clip(0, 1) / step)
        image = self.create_backend_obj(voxels, affine=affine, dtype=self.output_dtype, **kwargs)
        if step is not None:
            image.header.set_slope_inter(step, 0)
        image.set_sform(affine, code=1)
        image.set_qform(affine, code=1)
        if not np.allclose(image.get_qform(), affine, rtol=0, atol=1e-3):  # a qform cannot express shear
            image.set_qform(None, code=0)
        image.header.set_xyzt_units("mm")
        mark_as_own(image)
        write_atomically(filename, igzip.compress(image.to_bytes(), mtime=0))


def check_outputs(items: Sequence[Item], output_dir: PathLike) -> None:
    """Checks, before any work is done, that no result of the cases would replace a file of somebody else.

    Raises:
        BundleError: where `<output_dir>/<case>_{seg,probabilities,confidence}.nii.gz` exists and this bundle did not
            write it.
    """
    for item in items:
        for postfix in ("seg", "probabilities", "confidence"):
            refuse_replacing(Path(output_dir) / f"{item['case']}_{postfix}.nii.gz")


def refuse_replacing(path: PathLike) -> None:
    """Raises a `BundleError` where a file exists that this bundle did not write."""
    if os.path.lexists(path) and not is_own_file(path):
        raise BundleError(
            f"{path}: exists and was not written by this bundle, so it is not replaced; "
            "choose another --output_dir, such as a new folder, or move the file away"
        )
