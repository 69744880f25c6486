# SPDX-License-Identifier: Apache-2.0
"""Saves volumes as NIfTI files that appear complete or not at all."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from isal import igzip
from monai.config import KeysCollection, PathLike
from monai.data import NibabelWriter
from monai.transforms import SaveImaged

from scripts.base.errors import BundleError
from scripts.base.results import write_result
from scripts.data.predictions import mark_prediction
from scripts.data.transforms import MISSING


class SaveVolumed(SaveImaged):
    """MONAI's `SaveImaged` to `<output_dir>/<case>_<postfix>.nii.gz`, which appears complete or not at all.

    An earlier result therefore survives a full disk or an interrupted run. The header is marked (`predictions`) and
    names the modalities that the case lacked; no file of somebody else is replaced (`results`).

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
        self.output_dir = Path(output_dir)
        self.postfix = output_postfix

    def results_of(self, cases: Sequence[str]) -> list[Path]:
        """Returns the paths of the files of cases."""
        return [self.output_dir / f"{case}_{self.postfix}.nii.gz" for case in cases]

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        try:
            return super().__call__(data)
        except RuntimeError as error:  # MONAI wraps the writer's traceback in one
            reason = str(error).strip().splitlines()[-1]
            if "BundleError: " in reason:
                raise BundleError(reason) from error
            raise BundleError(f"{self.output_dir}: a result cannot be written ({reason}); make room there") from error


class _WholeWriter(NibabelWriter):
    missing = ""

    def set_metadata(self, meta_dict: Mapping | None, resample: bool = True, **options: Any) -> None:
        self.missing = (meta_dict or {}).get(MISSING, "")
        super().set_metadata(meta_dict, resample, **options)

    def write(self, filename: PathLike, verbose: bool = False, *, step: float | None = None, **kwargs: Any) -> None:
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
        mark_prediction(image, missing=self.missing)
        write_result(filename, igzip.compress(image.to_bytes(), mtime=0))
