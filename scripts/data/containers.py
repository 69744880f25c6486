# SPDX-License-Identifier: Apache-2.0
"""Files that are not what the ends of their names say."""

from __future__ import annotations

from scripts.base.errors import BundleError

_GZIP = b"\x1f\x8b"
# the size of a header, 348 or 540, of NIfTI-1 and NIfTI-2 in both byte orders
_NIFTI = tuple(size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big"))


def refuse_misnamed(path: str) -> None:
    """Looks at the first bytes of a file.

    Raises:
        BundleError: where it is a web page, a pointer of Git LFS, or compressed against what its name says.
    """
    with open(path, "rb") as file:
        head = file.read(64)
    name = path.lower()
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise BundleError("is a web page, as of a login that has expired; download the file again")
    if head.startswith(b"version https://git-lfs"):
        raise BundleError("is a pointer of Git LFS, not the file itself; fetch it by `git lfs pull`")
    if name.endswith(".nii.gz") and head.startswith(_NIFTI):
        raise BundleError(f"is not compressed, although its name says so; rename it to {path[: -len('.gz')]}")
    if name.endswith(".nii") and head.startswith(_GZIP):
        raise BundleError(f"is compressed, although its name does not say so; rename it to {path}.gz")
