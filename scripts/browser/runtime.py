# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime Web, taken from its npm package, which is checked to be the one that this page was tested with."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path

from scripts.base.errors import BundleError

PACKAGE = "onnxruntime-web"  # MIT
VERSION = "1.30.0"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"  # as `npm pack` calls it
# the module with its glue code, and the runtime: SIMD, and threads where the page is isolated
FILES = {"onnxruntime.mjs": "dist/ort.wasm.bundle.min.mjs", "onnxruntime.wasm": "dist/ort-wasm-simd-threaded.wasm"}
ARCHIVES = Path(__file__).resolve().parents[2] / "output" / "npm"
COMMAND = f"npm pack {PACKAGE}@{VERSION}"


def fetch_archive(folder: Path) -> Path:
    """Returns the package's archive in a folder, fetched by `npm pack` where it is not there yet.

    Raises:
        BundleError: where npm is not installed or cannot fetch it.
    """
    archive = folder / ARCHIVE
    if archive.is_file():
        return archive
    npm = shutil.which("npm")
    remedy = f"run `{COMMAND}` where npm is, and give the file that it writes by --onnxruntime"
    if npm is None:
        raise BundleError(f"{archive}: no such file, and npm is not installed; {remedy}")
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [npm, "pack", f"{PACKAGE}@{VERSION}", "--pack-destination", str(folder)], capture_output=True, text=True
    )
    if done.returncode or not archive.is_file():
        reason = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
        raise BundleError(f"`{COMMAND}` failed ({reason}); {remedy}")
    return archive


def read_runtime(archive: Path) -> dict[str, bytes]:
    """Returns the files of ONNX Runtime Web that the page needs, by the names they have there.

    Raises:
        BundleError: where there is no such file, or it is another one than the pinned.
    """
    if not archive.is_file():
        raise BundleError(f"--onnxruntime {archive}: no such file; `{COMMAND}` writes {ARCHIVE}")
    content = archive.read_bytes()
    if digest_of(content) != SHA512:
        raise BundleError(f"--onnxruntime {archive}: is not {ARCHIVE}, its SHA-512 differs; fetch it by `{COMMAND}`")
    with tarfile.open(fileobj=io.BytesIO(content)) as package:
        found = {name: package.extractfile(f"package/{path}") for name, path in FILES.items()}
        return {name: file.read() for name, file in found.items() if file}


def digest_of(content: bytes) -> str:
    """Returns the SHA-512 of an archive as npm writes it, in base64."""
    return base64.b64encode(hashlib.sha512(content).digest()).decode()
