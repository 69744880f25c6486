# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.data.containers import refuse_misnamed


def nifti(kind: type = nib.Nifti1Image, order: str = "<") -> bytes:
    header = kind.header_class(endianness=order)  # type: ignore[attr-defined]
    return kind(np.zeros((2, 2, 2), np.uint8), np.eye(4), header).to_bytes()


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_file_is_renamed_to_what_it_is(tmp_path: Path, kind: type, order: str) -> None:
    plain, packed = tmp_path / "a_t1.nii.gz", tmp_path / "b_T1.NII"
    plain.write_bytes(nifti(kind, order))
    with pytest.raises(BundleError, match=r"is not compressed.*rename it to .*/a_t1\.nii$"):
        refuse_misnamed(str(plain))
    packed.write_bytes(gzip.compress(nifti(kind, order)))
    with pytest.raises(BundleError, match=r"is compressed.*rename it to .*/b_T1\.NII\.gz$"):
        refuse_misnamed(str(packed))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\n <!DOCTYPE html><html>Sign in</html>", "is a web page"),
        (b"<html>", "is a web page"),
        (b'<?xml version="1.0"?><Error>', "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
    ],
)
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd"])
def test_what_was_downloaded_in_place_of_a_file_is_told(
    tmp_path: Path, content: bytes, expected: str, name: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=expected):
        refuse_misnamed(str(tmp_path / name))


def test_files_that_are_what_their_names_say_pass(tmp_path: Path) -> None:
    for name, content in (
        ("a.nii", nifti()),
        ("a.nii.gz", gzip.compress(nifti())),
        ("a.nrrd", b"NRRD0004\n"),
        ("a", b""),
    ):
        (tmp_path / name).write_bytes(content)
        refuse_misnamed(str(tmp_path / name))
