# SPDX-License-Identifier: Apache-2.0
"""The folder of the page: which files it has, and how they are written."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.bundle import ConfigParser

from scripts.base.results import is_result, refuse_replacing, write_result
from scripts.browser.networks import export_networks
from scripts.browser.packages import PACKAGES, read_packages
from scripts.browser.settings import settings_module
from scripts.data.phantoms import FIELD_OF_VIEW, WHITE_MATTER, make_phantom
from scripts.web.pages import WEB as SHARED_WEB
from scripts.web.pages import render

WEB = Path(__file__).parent / "web"
SHARED = ("base.css", "slice_viewer.js", "niivue.umd.js", "LICENSES.txt")
PHANTOM_SEED, PHANTOM_SHAPE = 4, (96, 96, 80)
MANIFEST = "files.json"  # the list of the page's files


def build_site(packages: Path, *, config_file: Path, ckpt_dir: str) -> dict[str, bytes]:
    """Returns the files of the page by their paths.

    Args:
        packages: folder of the npm packages' archives.
        config_file: inference.yaml.
        ckpt_dir: folder of model.pt and critic.pt.
    """
    config = ConfigParser()
    config.read_config(config_file)
    files = {path.relative_to(WEB).as_posix(): path.read_bytes() for path in sorted(WEB.rglob("*.js"))}
    files |= {name: (SHARED_WEB / name).read_bytes() for name in SHARED}
    files["browser.css"] = (WEB / "browser.css").read_bytes()
    files["settings.js"] = settings_module(config).encode()
    files["LICENSES.txt"] += (WEB / "LICENSES.txt").read_bytes()
    for name, content in read_packages(packages).items():
        files |= {f"{name}.gz": gzip.compress(content, mtime=0)} if name.endswith(".wasm") else {name: content}
    files |= export_networks(config, ckpt_dir)
    files |= _phantom()
    files["index.html"] = render(WEB / "page.html", packages=PACKAGES).encode()
    version = hashlib.sha256(b"".join(name.encode() + content for name, content in sorted(files.items()))).hexdigest()
    files["service_worker.js"] = files["service_worker.js"].replace(b"VERSION_OF_THE_FILES", version[:16].encode())
    sizes = {name: len(content) for name, content in sorted(files.items())}
    files[MANIFEST] = json.dumps({"version": version[:16], "files": sizes}, indent=1).encode()
    return files


def write_site(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes the files into a folder, and removes what an older page left there.

    Raises:
        BundleError: where a file of somebody else would be replaced, or the folder cannot be written.
    """
    refuse_replacing(*(folder / name for name in files))
    older = json.loads((folder / MANIFEST).read_bytes())["files"] if (folder / MANIFEST).is_file() else {}
    for name, content in files.items():
        write_result(folder / name, content)
    for name in {*older} - {*files}:
        if is_result(folder / name):
            (folder / name).unlink()


def _phantom() -> dict[str, bytes]:
    """A case to try the page with, as NIfTI files by the names of BraTS."""
    image, _ = make_phantom(PHANTOM_SEED, shape=PHANTOM_SHAPE)
    voxel = FIELD_OF_VIEW / image.shape[1]
    affine = nib.affines.from_matvec(np.diag([-voxel, -voxel, voxel]), [0, voxel * (image.shape[2] - 1), 0])
    files = {}
    for name, volume in zip(WHITE_MATTER, image):
        nifti = nib.Nifti1Image(volume, affine)
        nifti.header["descrip"] = b"phantom, not a patient"
        nifti.header.set_xyzt_units("mm")
        content = io.BytesIO()
        with gzip.GzipFile(fileobj=content, mode="wb", mtime=0) as file:
            file.write(nifti.to_bytes())
        files[f"phantom/phantom_{name}.nii.gz"] = content.getvalue()
    return files
