# SPDX-License-Identifier: Apache-2.0
"""Building and checking of the archive for MONAI's Model Zoo."""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import yaml

from scripts.base.errors import BundleError, report_bundle_errors
from scripts.base.results import write_result
from scripts.browser.site import MANIFEST

BUNDLE = Path(__file__).resolve().parents[2]
NAME = "brats_mri_reciprocal_segmentation"
# what a user of the bundle needs; tests and caches are left out
CONTENTS = (
    *("LICENSE", "README.md", "metadata.json", "requirements*.txt", "large_files.yml"),
    *("configs/*", "docs/*", "models/model.pt", "models/critic.pt", "scripts/**/*"),
)
# folders that Python and MONAI Label create; logs may contain patient data
LEFT_BY_RUNS = {"__pycache__", "bin", "lib", "logs", "model"}
# rules of the Model Zoo: necessary files, and the maximum size of a file
NECESSARY = ("LICENSE", "configs/metadata.json", "configs/inference.yaml", "docs/README.md", "models/model.pt")
MAX_BYTES = 25 * 1000**2
MOMENT = (1980, 1, 1, 0, 0, 0)  # time stamp of every file, so that equal contents give an equal archive


def main() -> None:
    """Command line: builds and checks the bundle's archive, and the page's; the SHA-256 is written next to each."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(
        prog="python -m scripts.tools.release", description="Builds the Model Zoo's archive."
    )
    parser.add_argument("--output_dir", default="output/release", help="folder of the archive (output/release)")
    parser.add_argument("--page", type=Path, help="folder that scripts.browser wrote, for an archive of its own")
    args = parser.parse_args()
    files = collect(BUNDLE)
    check(files)
    version = json.loads(files["configs/metadata.json"])["version"]
    page = collect_page(args.page) if args.page else {}
    write(Path(args.output_dir, f"{NAME}_v{version}.zip"), files)
    if page:
        write(Path(args.output_dir, f"{NAME}_page_v{version}.zip"), page)


def collect(bundle: Path) -> dict[str, bytes]:
    """Returns the contents of the archive's files by their path in the bundle; links are followed."""
    places = {place for pattern in CONTENTS for place in bundle.glob(pattern) if place.is_file()}
    paths = {place.relative_to(bundle): place for place in places}
    return {path.as_posix(): paths[path].read_bytes() for path in sorted(paths) if not LEFT_BY_RUNS & {*path.parts}}


def collect_page(folder: Path) -> dict[str, bytes]:
    """Returns the files of the page that segments in the browser.

    Raises:
        BundleError: if the folder is not that of a page, or a file of it is missing or of another size.
    """
    if not (folder / MANIFEST).is_file():
        raise BundleError(f"--page {folder}: holds no page; write it by `python -m scripts.browser {folder}`")
    sizes = json.loads((folder / MANIFEST).read_bytes())["files"]
    for path, size in sizes.items():
        if not (folder / path).is_file() or (folder / path).stat().st_size != size:
            raise BundleError(f"--page {folder}: {path} is not as it was written; write the page again")
    return {path: (folder / path).read_bytes() for path in sorted([*sizes, MANIFEST])}


def write(place: Path, files: Mapping[str, bytes]) -> None:
    """Writes the archive of the contents, and its SHA-256 next to it."""
    content = pack(files)
    digest = hashlib.sha256(content).hexdigest()
    write_result(place, content)
    write_result(place.with_name(f"{place.name}.sha256"), f"{digest}  {place.name}\n".encode())
    print(f"{place}: {len(files)} files, {len(content) / 1e6:.1f} MB, SHA-256 {digest}")


def check(files: Mapping[str, bytes]) -> None:
    """Checks the contents against the rules of the Model Zoo.

    Raises:
        BundleError: if a file is missing, too large or differs from large_files.yml, the changelog lacks the version,
            or a package's version in metadata.json differs from requirements.txt.
    """
    if missing := [path for path in NECESSARY if path not in files]:
        raise BundleError(f"{missing[0]}: missing; the Model Zoo needs it")
    if large := [path for path, content in files.items() if len(content) > MAX_BYTES]:
        size = len(files[large[0]]) / 1e6
        raise BundleError(
            f"{large[0]}: {size:.1f} MB, at most 25 may be; host it elsewhere and list it in large_files.yml"
        )
    for entry in yaml.safe_load(files.get("large_files.yml", b"large_files: []"))["large_files"]:
        path, algorithm = entry["path"], entry.get("hash_type", "")
        if path in files and algorithm and hashlib.new(algorithm, files[path]).hexdigest() != entry["hash_val"]:
            raise BundleError(
                f"large_files.yml: {path} has another {algorithm}; upload the file again or correct the entry"
            )
    metadata = json.loads(files["configs/metadata.json"])
    if metadata["version"] not in metadata["changelog"]:
        raise BundleError(f"configs/metadata.json: version {metadata['version']} is not in its changelog; add a line")
    pins = dict(line.split("==") for line in files["requirements.txt"].decode().split())
    pins["pytorch"] = pins["torch"]
    named = {name: metadata[f"{name}_version"] for name in ("monai", "pytorch", "numpy")}
    for package, version in (named | metadata["required_packages_version"]).items():
        if pins.get(package) != version:
            found = f"{package} {version}, in requirements.txt {pins.get(package)}"
            raise BundleError(f"configs/metadata.json: {found}; make them agree")


def pack(files: Mapping[str, bytes]) -> bytes:
    """Returns a reproducible ZIP archive of the contents, in a folder with the bundle's name."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for path, content in files.items():
            entry = zipfile.ZipInfo(f"{NAME}/{path}", MOMENT)
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            file.writestr(entry, content)
    return archive.getvalue()


if __name__ == "__main__":
    main()
