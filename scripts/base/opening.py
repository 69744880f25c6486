# SPDX-License-Identifier: Apache-2.0
"""The first step of every command."""

from __future__ import annotations

import logging
import warnings

import monai

from scripts.base.allocator import reuse_freed_memory
from scripts.base.errors import BundleError, report_bundle_errors
from scripts.base.settings_check import check_settings

MONAI = "1.6.1"  # as in requirements.txt


def prepare() -> None:
    """Checks the settings of the config that calls this first; from then on, a user's mistake ends with one line.

    Raises:
        BundleError: for another version of MONAI, and see `check_settings`.
    """
    report_bundle_errors()
    check_monai()
    check_settings()
    reuse_freed_memory()
    ignore_needless_warnings()


def ignore_needless_warnings() -> None:
    """Ignores warnings that tell a user nothing.

    MONAI's trainers create CUDA's gradient scalers on CPUs as well, to no effect. Its `LoadImage`, of which every
    command creates some, tries nvImageCodec, which decodes DICOM alone and only on GPUs.
    """
    warnings.filterwarnings("ignore", message=r".*torch\.cuda\.amp\.GradScaler")
    warnings.filterwarnings("ignore", message="NvImgCodecPydicomReader: nvImageCodec decoder plugin did not register")
    logging.getLogger("monai.data.nvimgcodec_pydicom_plugin").setLevel(logging.ERROR)


def check_monai() -> None:
    """Raises a `BundleError` for another minor version of MONAI than the one the configs were written for."""
    found = monai.__version__.split("+")[0]
    if found.split(".")[:2] != MONAI.split(".")[:2]:
        raise BundleError(f"MONAI {found} is installed, this bundle needs {MONAI}: pip install -r requirements.txt")
