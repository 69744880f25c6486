# SPDX-License-Identifier: Apache-2.0
"""What was drawn is what is stored, voxel for voxel, whatever the scan's file is; what is not understood is refused."""

from __future__ import annotations

import gzip
import itertools
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from scripts.base.errors import BundleError
from scripts.brats import Item
from scripts.data.discovery import find_cases
from scripts.label_app.history import History, read_voxels
from scripts.label_app.uploads import read_drawing, read_label
from scripts.label_app.volumes import grid_of, read_scan, viewer_grid
from tests.data.test_checks import make_case, make_label, save
from tests.label_app.running_server import drawing_file
from tests.tolerances import FLOAT32

SHAPE = (6, 7, 9)
INSIDE = (4, 5, 7)  # the brain, in air
ORIENTATIONS = [
    "".join(name[flip] for name, flip in zip(axes, flips))
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for flips in itertools.product((0, 1), repeat=3)
]
TILTS = {"straight": (0.0, 0.0), "oblique": (0.21, -0.17)}  # radians about two axes
TYPES = ("uint8", "int16", "uint16", "int32", "float32", "float64", ">i2", ">f4")


def affine_of(axes: str, tilt: str, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    turned = nib.orientations.inv_ornt_aff(nib.orientations.axcodes2ornt(axes), shape)
    a, b = TILTS[tilt]
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    rotation = np.eye(4)
    rotation[:3, :3] = about_x @ about_z
    return rotation @ np.diag([1, 1, 1, 1]) @ turned @ np.diag([1.0, 1.2, 1.5, 1.0])


def write_scan(
    path: Path,
    axes: str = "RAS",
    *,
    tilt: str = "straight",
    dtype: str = "int16",
    extension: int = 0,
    slope: tuple[float, float] | None = None,
    fourth_axis: bool = False,
    version: int = 1,
) -> np.ndarray:
    """Writes a scan of one kind, and returns its intensities."""
    stored = np.zeros(SHAPE, dtype)
    stored[1:-1, 1:-1, 1:-1] = np.random.default_rng(len(axes)).integers(1, 120, INSIDE)
    affine = affine_of(axes, tilt)
    kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    image = kind(stored[..., None] if fourth_axis else stored, affine, dtype=np.dtype(dtype))
    if np.dtype(dtype).byteorder == ">":
        image = kind(image.dataobj, affine, image.header.as_byteswapped(">"))
    if extension:
        image.header.extensions.append(nib.nifti1.Nifti1Extension(0, b"\0" * extension))
    path.parent.mkdir(parents=True, exist_ok=True)
    if slope:
        image.header.set_slope_inter(*slope)
        with path.open("wb") as file:  # NiBabel would scale the voxels
            header = image.header.copy()
            header["vox_offset"] = 352
            header.write_to(file)
            file.write(b"\0" * (352 - file.tell()))
            file.write(stored.tobytes(order="F"))
        return stored.astype(np.float64) * slope[0] + slope[1]
    nib.save(image, path)
    return stored.astype(np.float64)


def cases() -> list[dict[str, Any]]:
    kinds: list[dict[str, Any]] = [{"axes": axes, "tilt": tilt} for axes in ORIENTATIONS for tilt in TILTS]
    kinds += [{"axes": axes, "dtype": dtype} for axes in ("RAS", "LPS", "PIL") for dtype in TYPES]
    sizes = (8, 24, 664, 1016, 4088)
    kinds += [
        {"axes": axes, "extension": size, "dtype": dtype}
        for axes in ("RAS", "LPS", "ASR")
        for size in sizes
        for dtype in ("uint8", "float32")
    ]
    kinds += [
        {"axes": axes, "slope": slope}
        for axes in ("RAS", "LPS", "PIL")
        for slope in ((2.0, 0.0), (0.5, -3.0), (-1.0, 200.0), (1.0, 5.0))
    ]
    kinds += [
        {"axes": axes, "fourth_axis": True, "extension": size} for axes in ("RAS", "LPS", "SAR") for size in (0, 1016)
    ]
    kinds += [{"axes": axes, "version": 2, "extension": size} for axes in ("RAS", "LPS") for size in (0, 1016)]
    return kinds


def test_what_is_drawn_is_what_is_stored_voxel_for_voxel(tmp_path: Path) -> None:
    kinds = cases()
    for number, kind in enumerate(kinds):
        scan = tmp_path / f"{number}_t1.nii"
        intensities = write_scan(scan, **kind)
        item: Item = {"case": f"case {number}", "patient": "", "layout": "brats2021", "image": [str(scan)] * 4}

        seen = read_scan(item, "t1", cache_dir=tmp_path)
        header = nib.Nifti1Header(seen[:348], endianness="<")
        assert (header["vox_offset"], seen[348:352], nib.aff2axcodes(header.get_sform())) == (
            352,
            b"\0" * 4,
            ("R", "A", "S"),
        )
        shown = nib.Nifti1Image.from_bytes(seen)
        drawn = np.random.default_rng(number).choice(np.array([0, 1, 2, 4], np.uint8), shown.shape)

        content = drawing_file(drawn, shown.affine, item["case"])
        labels = read_drawing(content, case=item["case"], reference=scan)
        history = History(tmp_path / "review", item["case"])
        version = history.save(labels, grid_of(scan)[1], by="me", client="test", based_on=0)
        stored: Any = nib.load(history.place(version))
        np.testing.assert_allclose(stored.affine, nib.load(scan).affine, rtol=FLOAT32)  # type: ignore[attr-defined]

        # independently: each voxel that was seen and drawn lies, in mm, where the stored one lies
        at = np.indices(shown.shape).reshape(3, -1)
        millimetres = shown.affine[:3, :3] @ at + shown.affine[:3, 3:]
        inverse = np.linalg.inv(stored.affine)
        i, j, k = np.rint(inverse[:3, :3] @ millimetres + inverse[:3, 3:]).astype(int)
        np.testing.assert_array_equal(np.asarray(stored.dataobj)[i, j, k], drawn.reshape(-1), err_msg=str(kind))
        np.testing.assert_array_equal(intensities[i, j, k], np.asarray(shown.dataobj).reshape(-1), err_msg=str(kind))
    assert len(kinds) == 172


@pytest.fixture
def item(tmp_path: Path) -> Item:
    make_case(tmp_path / "studies")
    return find_cases(str(tmp_path / "studies"), labels="ignored")[0]


@pytest.fixture
def drawing(item: Item) -> bytes:
    return drawing_file(make_label(), viewer_grid(item["image"][0])[1], item["case"])


def put(content: bytes, at: int, value: bytes) -> bytes:
    return content[:at] + value + content[at + len(value) :]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c + b"\0", "bytes, and its case needs"),
        (lambda c: c[:-1], "bytes, and its case needs"),
        (lambda c: c[:352] + b"\0" * 1024 + c[352:], "bytes, and its case needs"),
        (lambda c: put(c, 70, b"\4"), "datatype"),
        (lambda c: put(c, 42, b"\x08"), "header is not the review page's .dim."),
        (lambda c: put(c, 348, b"\1"), "header is not"),
        (lambda c: put(c, 328, b"case 00000000"), "made on another case"),
        (lambda c: put(c, 292, np.float32(7).tobytes()), "does not lie on the grid"),
        (lambda c: put(c, 500, b"\3"), "has 3 .without a name.; allowed are"),
        (lambda c: b"", "bytes, and its case needs"),
    ],
)
def test_a_drawing_that_is_not_understood_is_refused(spoil: Any, message: str, item: Item, drawing: bytes) -> None:
    reference = Path(item["image"][0])
    np.testing.assert_array_equal(read_drawing(drawing, case=item["case"], reference=reference), make_label())
    with pytest.raises(BundleError, match=message):
        read_drawing(spoil(drawing), case=item["case"], reference=reference)


def read(path: str | Path, item: Item, **options: Any) -> np.ndarray:
    return read_label(str(path), item=item, reference=Path(item["image"][0]), **options)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_points_to_a_wrong_place_is_refused(suffix: str, item: Item, tmp_path: Path) -> None:
    # as NiiVue writes it: the extension's bytes are there, and vox_offset stays 352
    whole = nib.Nifti1Image(make_label(), np.eye(4)).to_bytes()
    shifted = whole[:352] + b"\0" * 1024 + whole[352:]
    path = tmp_path / f"sent{suffix}"
    path.write_bytes(gzip.compress(shifted) if suffix == ".nii.gz" else shifted)
    with pytest.raises(BundleError, match="has more bytes, and its header says"):
        read(path, item)
    path.write_bytes(gzip.compress(whole[:-9]) if suffix == ".nii.gz" else whole[:-9])
    with pytest.raises(BundleError, match="bytes, and its header says"):
        read(path, item)
    path.write_bytes(gzip.compress(whole) if suffix == ".nii.gz" else whole)
    np.testing.assert_array_equal(read(path, item), make_label())


def test_slicers_numbering_becomes_that_of_brats(item: Item, tmp_path: Path) -> None:
    path = save(tmp_path / "label.nii.gz", make_label((1, 2, 3)))
    names = {1: "oedema", 2: "enhancing tumour", 3: "necrotic or non-enhancing core"}
    np.testing.assert_array_equal(read(path, item, names=names), make_label((2, 4, 1)))


def test_a_label_in_the_numbers_of_brats_2023_fits_a_case_of_that_layout_alone(item: Item, tmp_path: Path) -> None:
    path = save(tmp_path / "label.nii.gz", make_label((1, 2, 3)))
    np.testing.assert_array_equal(read(path, {**item, "layout": "brats2023"}), make_label((1, 2, 4)))
    np.testing.assert_array_equal(
        read(save(tmp_path / "own.nii.gz", make_label()), {**item, "layout": "brats2023"}), make_label()
    )
    for layout in ("brats2021", "msd"):
        with pytest.raises(BundleError, match="has 3"):
            read(path, {**item, "layout": layout})


@pytest.mark.parametrize(
    ("label", "affine", "names", "message"),
    [
        (make_label((1, 3)), None, None, "has 3 .without a name.; allowed are 1 necrotic"),
        (make_label((1, 2.5)), None, None, "has 2.5"),
        (make_label((1, 2)), None, {1: "oedema", 2: "cyst"}, "has 2 .cyst."),
        (np.zeros((8, 8, 8), np.uint8), None, None, "grid of .* that is not that of"),
        (make_label(), np.diag([1.0, 1.0, 3.0, 1.0]), None, "grid of .* that is not that of"),
        (
            np.pad(np.ones((2, 16, 16), np.uint8), ((0, 14), (0, 0), (0, 0))),
            None,
            None,
            "100% of the label lies outside",
        ),
    ],
)
def test_a_label_that_does_not_fit_is_refused(
    label: np.ndarray, affine: Any, names: dict[int, str] | None, message: str, item: Item, tmp_path: Path
) -> None:
    with pytest.raises(BundleError, match=message):
        read(save(tmp_path / "label.nii.gz", label, affine), item, names=names)
    (tmp_path / "damaged.nii.gz").write_bytes(b"no NIfTI")
    with pytest.raises(BundleError, match="cannot be read"):
        read(tmp_path / "damaged.nii.gz", item)


def test_a_label_is_written_and_read_again_before_it_counts(item: Item, tmp_path: Path, monkeypatch: Any) -> None:
    history = History(tmp_path / "review", item["case"])
    monkeypatch.setattr("scripts.label_app.history.read_voxels", lambda place: read_voxels(place)[::-1])
    with pytest.raises(BundleError, match="holds other voxels than were sent"):
        history.save(make_label(), np.eye(4), by="me", client="test", based_on=0)
