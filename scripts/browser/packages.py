# SPDX-License-Identifier: Apache-2.0
"""What the page takes from npm packages, which are checked to be those that it was tested with."""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple

from scripts.base.errors import BundleError

ARCHIVES = Path(__file__).resolve().parents[2] / "output" / "npm"


class Package(NamedTuple):
    """A package of npm.

    Attributes:
        name: its name, with the scope.
        version: the pinned version.
        sha512: of its archive, as npm writes it.
        files: paths in it by the names that they have in the page.
    """

    name: str
    version: str
    sha512: str
    files: dict[str, str]

    @property
    def archive(self) -> str:
        """The name that `npm pack` gives the archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"

    @property
    def command(self) -> str:
        """The command that fetches the archive."""
        return f"npm pack {self.name}@{self.version}"


RUNTIME = Package(  # MIT
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
    # the module with its glue code, and the runtime: SIMD, and threads where the page is isolated
    {"onnxruntime.mjs": "dist/ort.wasm.bundle.min.mjs", "onnxruntime.wasm": "dist/ort-wasm-simd-threaded.wasm"},
)
DICOM = Package(  # BSD
    "@niivue/dcm2niix",
    "1.2.0",
    "wGontzVdVvLzeptZvJCcCQfpneoCme+9oCl82USjWMuer048+ZByO3b4FhbGnyEVQPh7hVgDA7A2+l6vW29bDg==",
    # the build that also reads JPEG 2000 and JPEG-LS
    {"dcm2niix.mjs": "dist/dcm2niix.jpeg.js", "dcm2niix.wasm": "dist/dcm2niix.jpeg.wasm"},
)
PACKAGES = (RUNTIME, DICOM)


def fetch_packages(folder: Path) -> None:
    """Fetches those archives by `npm pack` that are not in a folder yet.

    Raises:
        BundleError: where npm is not installed or cannot fetch one.
    """
    for package in PACKAGES:
        archive = folder / package.archive
        if archive.is_file():
            continue
        npm = shutil.which("npm")
        remedy = f"run `{package.command}` where npm is, and put the file that it writes there"
        if npm is None:
            raise BundleError(f"{archive}: no such file, and npm is not installed; {remedy}")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [*(npm, "pack", f"{package.name}@{package.version}"), "--pack-destination", str(folder)],
            capture_output=True,
            text=True,
        )
        if done.returncode or not archive.is_file():
            reason = (done.stderr.strip().splitlines() or ["it wrote nothing"])[-1]
            raise BundleError(f"{archive}: no such file, and `{package.command}` failed ({reason}); {remedy}")


def read_packages(folder: Path) -> dict[str, bytes]:
    """Returns the files that the page needs, by the names they have there.

    Args:
        folder: the folder of the archives.

    Raises:
        BundleError: where an archive is not there, or is another one than the pinned.
    """
    return {name: content for package in PACKAGES for name, content in _read(folder / package.archive, package).items()}


def _read(archive: Path, package: Package) -> dict[str, bytes]:
    if not archive.is_file():
        raise BundleError(f"{archive}: no such file; `{package.command}` writes it")
    content = archive.read_bytes()
    if digest_of(content) != package.sha512:
        raise BundleError(
            f"{archive}: its SHA-512 differs from that of {package.name}; fetch it by `{package.command}`"
        )
    with tarfile.open(fileobj=io.BytesIO(content)) as members:
        found = {name: members.extractfile(f"package/{path}") for name, path in package.files.items()}
        return {name: file.read() for name, file in found.items() if file}


def digest_of(content: bytes) -> str:
    """Returns the SHA-512 of an archive as npm writes it, in base64."""
    return base64.b64encode(hashlib.sha512(content).digest()).decode()
