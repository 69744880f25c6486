# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import gzip
import math
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import itk
import nibabel as nib
import numpy as np

KINDS = ("t1", "t1ce", "t2", "flair", "seg")
SCANS = KINDS[:4]
SHAPE = (24, 22, 20)
# where a field of a NIfTI-1 header begins, and how it is packed
FIELDS = {
    "dim": (40, "8h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "3f"),
    "srow_x": (280, "4f"),
    "srow_y": (296, "4f"),
    "srow_z": (312, "4f"),
    "xyzt_units": (123, "B"),
    "magic": (344, "4s"),
}
HEADER = 352
Files = dict[str, Path]
Bytes = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Fault:
    """A case whose files are sound until `damage` is done to them, by kind."""

    group: str
    case: str
    damage: Callable[[Files], object]
    suffix: str = ".nii.gz"
    kinds: tuple[str, ...] = SCANS  # what an error may name, with a suffix where it is another
    warned: str = ""  # words of the warning, beside the name of one of these files, under which it is segmented

    def write(self, dataset: Path) -> None:
        """Writes the case into a folder of its own."""
        folder = dataset / self.case
        folder.mkdir(parents=True)
        files = {kind: folder / f"{self.case}_{kind}{self.suffix}" for kind in KINDS}
        for kind, file in files.items():
            store(file, nifti(kind))
        self.damage(files)


def voxels(kind: str) -> np.ndarray:
    """A brain with a tumour: int16 of a modality, uint8 of the labels."""
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in SHAPE], indexing="ij")
    brain = sum(axis**2 for axis in axes) < 0.8
    tumour = sum((axis - 0.2) ** 2 for axis in axes)
    if kind == "seg":
        return np.select([tumour < 0.03, tumour < 0.08, tumour < 0.15], [1, 4, 2], 0).astype(np.uint8)
    noise = np.random.default_rng(KINDS.index(kind)).integers(100, 300, SHAPE)
    return (brain * (noise + 300 * (tumour < 0.15))).astype(np.int16)


def nifti(kind: str, array: np.ndarray | None = None, *, affine: np.ndarray | None = None) -> bytes:
    """The content of a NIfTI file."""
    turned = np.diag([-1.0, -1, 1, 1]) if affine is None else affine
    return nib.Nifti1Image(voxels(kind) if array is None else array, turned).to_bytes()


def store(file: Path, content: bytes) -> None:
    """Writes the content of a NIfTI file, by gzip where its name says so."""
    file.write_bytes(gzip.compress(content, 6, mtime=0) if file.name.endswith(".gz") else content)


def change(kinds: tuple[str, ...], alter: Bytes) -> Callable[[Files], None]:
    """Damage to the content of NIfTI files, within their gzip."""

    def damage(files: Files) -> None:
        for kind in kinds:
            store(files[kind], alter(nifti(kind)))

    return damage


def change_stored(kind: str, alter: Bytes) -> Callable[[Files], None]:
    """Damage to a file as it is stored."""

    def damage(files: Files) -> None:
        files[kind].write_bytes(alter(files[kind].read_bytes()))

    return damage


def replace(kind: str, make: Callable[[Path], object]) -> Callable[[Files], None]:
    """Puts something else in a file's place."""

    def damage(files: Files) -> None:
        files[kind].unlink()
        make(files[kind])

    return damage


def with_fields(content: bytes, /, **fields: tuple[object, ...]) -> bytes:
    """Changes fields of a header."""
    found = bytearray(content)
    for name, values in fields.items():
        start, packing = FIELDS[name]
        struct.pack_into("<" + packing, found, start, *values)
    return bytes(found)


def all_faults() -> list[Fault]:
    """Every faulty case of the campaign; the same at each call."""
    return [
        fault
        for group in (
            *(_truncated, _flipped, _lying, _geometry, _values, _labels, _bombs, _named, _linked),
            *(_backgrounds, _heads, _meanings, _names_of_data_sets, _misnamed, _units, _segments, _odd),
        )
        for fault in group()
    ]


def _truncated() -> Iterator[Fault]:
    for suffix in (".nii.gz", ".nii"):
        for kind in ("t1ce", "seg"):
            for tenth in range(10):
                cut = partial(lambda content, tenth: content[: len(content) * tenth // 10], tenth=tenth)
                name = f"cut_{kind}_{tenth}0{suffix.replace('.', '_')}"
                yield Fault("truncated at every 10 %", name, change_stored(kind, cut), suffix, (kind,))
    lost = change_stored("t2", lambda content: content[:-8])
    yield Fault("truncated at every 10 %", "cut_trailer", lost, kinds=("t2",))
    yield Fault("truncated at every 10 %", "cut_1_byte", change_stored("t2", lambda c: c[:-1]), ".nii", ("t2",))


def _flipped() -> Iterator[Fault]:
    rng = np.random.default_rng(5)

    def flip(low: int, high: int | None = None) -> Bytes:
        place, mask = rng.random(), int(rng.integers(1, 256))

        def alter(content: bytes) -> bytes:
            found = bytearray(content)
            found[low + int(place * ((high or len(content)) - low))] ^= mask
            return bytes(found)

        return alter

    for index in range(40):
        for suffix in (".nii.gz", ".nii"):
            name = f"{index:02d}{suffix.replace('.', '_')}"
            one = change(("t2",), flip(0, HEADER))
            yield Fault("byte flipped in one header", f"header_{name}", one, suffix, SCANS)
            yield Fault("byte flipped in all headers", f"headers_{name}", change(SCANS, flip(0, HEADER)), suffix)
        stored = change_stored("flair", flip(0))
        yield Fault("byte flipped in gzip", f"gzip_{index:02d}", stored, kinds=("flair",))
        yield Fault("byte flipped in voxels", f"voxels_{index:02d}", change(("flair",), flip(HEADER)), ".nii")
    for index in range(10):
        label = change(("seg",), flip(HEADER))
        yield Fault("byte flipped in label", f"label_{index:02d}", label, ".nii", ("seg",))
    for index in range(20):
        label = change(("seg",), flip(0, HEADER))
        yield Fault("byte flipped in label", f"label_header_{index:02d}", label, ".nii.gz", ("seg",))


def _lying() -> Iterator[Fault]:
    dims = {
        "2_31": (3, 2048, 1024, 1024, 1, 1, 1, 1),
        "2_31_within_limits": (3, 1024, 1024, 1024, 1, 1, 1, 1),
        "2_45": (3, 32767, 32767, 32767, 1, 1, 1, 1),
        "2_31_channels": (4, 24, 22, 20, 32767, 1, 1, 1),
        "2_31_flat": (2, 32767, 32767, 1, 1, 1, 1, 1),
        "7d": (7, 24, 22, 20, 1000, 1000, 1000, 1000),
        "longer": (3, 24, 22, 21, 1, 1, 1, 1),
        "shorter": (3, 24, 22, 10, 1, 1, 1, 1),
        "none": (3, 0, 0, 0, 1, 1, 1, 1),
        "no_dim": (0, 24, 22, 20, 1, 1, 1, 1),
        "9d": (9, 24, 22, 20, 1, 1, 1, 1),
        "negative": (3, -24, 22, 20, 1, 1, 1, 1),
        "2d": (2, 24, 440, 1, 1, 1, 1, 1),
        "4d": (4, 24, 22, 10, 2, 1, 1, 1),
        "5d": (5, 24, 22, 4, 1, 5, 1, 1),
        "4d_of_one": (4, 24, 22, 20, 1, 1, 1, 1),
    }
    for suffix in (".nii.gz", ".nii"):
        for name, dim in dims.items():
            lie = partial(with_fields, dim=dim)
            yield Fault(
                "header lies about the size", f"dim_{name}{suffix.replace('.', '_')}", change(SCANS, lie), suffix
            )
    offsets = {"beyond": 1e9, "infinite": np.inf, "nan": np.nan, "negative": -352.0, "zero": 0.0, "later": 416.0}
    for name, offset in offsets.items():
        lie = partial(with_fields, vox_offset=(offset,))
        yield Fault("header lies about the size", f"offset_{name}", change(("t1",), lie), kinds=("t1",))
    for name, datatype, bits in (
        ("rgb", 128, 24),
        ("complex", 32, 64),
        ("longdouble", 1536, 128),
        ("none", 0, 0),
        ("unknown", 77, 16),
        ("int64", 1024, 64),
        ("bits_lie", 4, 32),
    ):
        lie = partial(with_fields, datatype=(datatype,), bitpix=(bits,))
        yield Fault("header lies about the size", f"type_{name}", change(SCANS, lie))
    extension = partial(_with_extension, size=2**31 - 16)
    yield Fault("header lies about the size", "extension_huge", change(("t1",), extension), kinds=("t1",))
    yield Fault("header lies about the size", "extension_negative", change(("t1",), partial(_with_extension, size=-16)))
    yield Fault("header lies about the size", "nifti2_2_62", change(("t1",), lambda _: _nifti2((2**31, 2**31, 1))))


def _geometry() -> Iterator[Fault]:
    spacings = {"zero": 0.0, "negative": -1.0, "nan": np.nan, "infinite": np.inf, "tiny": 1e-6, "large": 1e6, "2_mm": 2}
    for name, spacing in spacings.items():
        for codes, (qform, sform) in {"qform": (1, 0), "sform": (0, 1), "neither": (0, 0)}.items():
            lie = partial(with_fields, pixdim=(1, spacing, 1, 1, 1, 1, 1, 1), qform_code=(qform,), sform_code=(sform,))
            yield Fault("spacing", f"pixdim_{name}_{codes}", change(SCANS, lie))
        lie = partial(with_fields, srow_x=(spacing, 0, 0, 0))
        yield Fault("spacing", f"srow_{name}", change(SCANS, lie))
    flat = partial(with_fields, srow_x=(1, 1, 0, 0), srow_y=(1, 1, 0, 0))
    yield Fault("spacing", "srow_singular", change(SCANS, flat))
    yield Fault(
        "spacing", "quaternion_nan", change(SCANS, partial(with_fields, quatern=(np.nan, 0, 0), qform_code=(1,)))
    )
    wild = partial(with_fields, quatern=(5.0, 5, 5), qform_code=(1,), sform_code=(0,))
    yield Fault("spacing", "quaternion_wild", change(SCANS, wild))
    rows = {
        "mirrored": ((1, 0, 0, 0), (0, -1, 0, 0), (0, 0, 1, 0)),
        "doubled": ((-2, 0, 0, 0), (0, -2, 0, 0), (0, 0, 2, 0)),
        "swapped": ((0, -1, 0, 0), (-1, 0, 0, 0), (0, 0, 1, 0)),
        "moved": ((-1, 0, 0, 40), (0, -1, 0, 30), (0, 0, 1, -20)),
        "turned": ((-0.8, 0.6, 0, 0), (-0.6, -0.8, 0, 0), (0, 0, 1, 0)),
        "a_little_larger": ((-1.001, 0, 0, 0), (0, -1.001, 0, 0), (0, 0, 1.001, 0)),
        "turned_and_larger": ((-0.804, 0.603, 0, 0), (-0.603, -0.804, 0, 0), (0, 0, 1.005, 0)),
    }
    both: dict[str, tuple[object, ...]] = {"qform_code": (1,), "sform_code": (1,), "quatern": (0, 0, 1)}
    for name, (x, y, z) in rows.items():
        for kinds in (SCANS, ("t1ce",)):
            lie = partial(with_fields, srow_x=x, srow_y=y, srow_z=z, **both)
            yield Fault("sform and qform disagree", f"forms_{name}_{len(kinds)}", change(kinds, lie))


def _values() -> Iterator[Fault]:
    def put(value: float, dtype: type = np.float64) -> Bytes:
        def alter(content: bytes) -> bytes:
            array: np.ndarray = nib.Nifti1Image.from_bytes(content).get_fdata().astype(dtype)
            array[11, 11, 10] = value
            return nifti("", array)

        return alter

    odd = {"nan": np.nan, "inf": np.inf, "minus_inf": -np.inf, "1e300": 1e300, "minus_1e5": -1e5}
    for name, value in odd.items():
        yield Fault("values", f"voxel_{name}", change(("t1",), put(value)), kinds=("t1",))
    for name, scale in {
        "nan": np.nan,
        "inf": np.inf,
        "zero": 0,
        "1e30": 1e30,
        "1e38": 1e38,
        "1e-12": 1e-12,
        "minus": -1,
    }.items():
        yield Fault("values", f"slope_{name}", change(SCANS, partial(with_fields, scl_slope=(scale,), scl_inter=(0,))))
        yield Fault("values", f"inter_{name}", change(SCANS, partial(with_fields, scl_slope=(1,), scl_inter=(scale,))))
    arrays: dict[str, np.ndarray] = {
        "zero": np.zeros(SHAPE, np.int16),
        "constant": np.ones(SHAPE, np.int16),
        "one_voxel": np.eye(1, math.prod(SHAPE), 5000, np.int16).reshape(SHAPE),
        "negative": -voxels("t1"),
        "bool": (voxels("t1") > 0).astype(np.uint8),
        "tiny": np.ones((1, 1, 1), np.int16),
        "thin": np.ones((24, 22, 1), np.int16),
        "2d": np.ones((24, 22), np.int16),
        "5d": np.ones((24, 22, 2, 1, 5), np.int16),
        "4d": np.ones((24, 22, 5, 4), np.int16),
    }
    for name, array in arrays.items():
        for kinds in (SCANS, ("flair",)):
            whole = partial(_as_nifti, array=array)
            yield Fault("values", f"array_{name}_{len(kinds)}", change(kinds, whole))


def _labels() -> Iterator[Fault]:
    label = voxels("seg")
    arrays: dict[str, np.ndarray] = {
        "3_and_4": np.where(label == 1, 3, label),
        "5": np.where(label == 1, 5, label),
        "half": np.where(label == 1, 0.5, label).astype(np.float32),
        "negative": np.where(label == 1, -1, label).astype(np.int16),
        "nan": np.where(label == 1, np.nan, label).astype(np.float32),
        "255": label * 255,
        "cropped": label[:-1],
        "2d": label[:, :, 10],
        "4d": np.stack([label] * 4, axis=3),
        "noise": voxels("t1"),
        "complex": label.astype(np.complex64),
    }
    for name, array in arrays.items():
        whole = partial(_as_nifti, array=array)
        yield Fault("labels", f"seg_{name}", change(("seg",), whole), kinds=("seg",))
    moved = change(("seg",), lambda _: nifti("seg", affine=np.diag([-1.0, -1, 1.1, 1])))
    yield Fault("labels", "seg_moved", moved, kinds=("seg",))
    yield Fault("labels", "seg_missing", lambda files: files["seg"].unlink(), kinds=KINDS)


def _bombs() -> Iterator[Fault]:
    def bomb(file: Path, *, shape: tuple[int, int, int], size: int, first: bytes = b"") -> None:
        head = with_fields(nifti("t1"), dim=(3, *shape, 1, 1, 1, 1), datatype=(2,), bitpix=(8,))[:HEADER]
        with open(file, "wb") as raw, gzip.GzipFile("", "wb", 1, raw, mtime=0) as stream:
            stream.write(head + first)
            for _ in range(size >> 20):
                stream.write(bytes(2**20))

    for name, shape, size in (
        ("1024_1024_1024", (1024, 1024, 1024), 2**30),
        ("512_512_512", (512, 512, 512), 2**27),
        ("384_384_384", (384, 384, 384), 2**26),
    ):
        yield Fault("gzip bombs", f"bomb_{name}", replace("t1", partial(bomb, shape=shape, size=size)), kinds=SCANS)
    behind = replace("t1", partial(bomb, shape=(2, 2, 2), size=2**30, first=b"12345678"))
    yield Fault("gzip bombs", "bomb_behind", behind)
    after = change_stored("t1", lambda content: content + gzip.compress(bytes(2**28), 1))
    yield Fault("gzip bombs", "bomb_after_sound_voxels", after)
    nested = change_stored("t1", gzip.compress)
    yield Fault("gzip bombs", "gzip_twice", nested, kinds=("t1",))
    members = change(("t1",), lambda content: content)
    yield Fault(
        "gzip bombs",
        "gzip_members",
        lambda files: (
            members(files),
            files["t1"].write_bytes(
                b"".join(gzip.compress(nifti("t1")[i : i + 500]) for i in range(0, len(nifti("t1")), 500))
            ),
        ),
    )
    garbage = change_stored("t1", lambda content: content + b"garbage")
    yield Fault("gzip bombs", "gzip_garbage_behind", garbage)


def _named() -> Iterator[Fault]:
    names = [
        "with spaces",
        " led by one",
        "'single'",
        '"double"',
        "back\\slash",
        "new\nline",
        "tab\there",
        "é à ü",
        "漢字",
        "🧠",
        "e\u0301",
        "right\u202eleft",
        "$HOME",
        "$__import__('os').system('touch EVALUATED')",
        "@dataset_dir",
        "%configs::train.yaml",
        "-rf",
        "--help",
        "; touch EVALUATED",
        "$(touch EVALUATED)",
        "`touch EVALUATED`",
        "<img src=x onerror=alert(1)>",
        "{case}",
        "%s%n",
        "a,b;c",
        "*",
        "[a-z]",
        "?",
        "#",
        "~",
        "x..x",
        "x..",
        "CON",
        "escape\x1b[2J",
        "bell\x07",
        os.fsdecode(b"latin\xe9"),
        "x" * 240,
        "x" * 150,
        "null",
        "nan",
        "1e5",
        "a.nii.gz",
        "t1",
        "seg",
        "x_t1",
    ]
    for name in names:
        yield Fault("names", name, lambda files: None, kinds=KINDS)


def _linked() -> Iterator[Fault]:
    for name, target in {
        "dangling": "nowhere",
        "itself": None,
        "zero": "/dev/zero",
        "null": "/dev/null",
        "directory": "..",
    }.items():
        link = replace("t2", partial(lambda file, target: file.symlink_to(target or file.name), target=target))
        yield Fault("links and special files", f"link_{name}", link, kinds=("t2",))
    yield Fault("links and special files", "pipe", replace("t2", os.mkfifo), kinds=("t2",))
    yield Fault("links and special files", "folder", replace("t2", Path.mkdir), kinds=("t2",))
    yield Fault("links and special files", "empty_file", replace("t2", Path.touch), kinds=("t2",))
    yield Fault("links and special files", "to_sound_file", _link_away)
    for kind in SCANS:
        yield Fault("links and special files", f"without_{kind}_file", replace(kind, lambda _: None), kinds=KINDS)

    def loops(files: Files) -> None:
        folder = files["t1"].parent
        for name in ("a", "b", "c"):
            (folder / name).symlink_to(folder.parent)
            (folder / f"{name}_self").symlink_to(folder / f"{name}_self")

    yield Fault("links and special files", "loops_of_folders", loops)


def _backgrounds() -> Iterator[Fault]:
    def scale(array: np.ndarray, background: float) -> np.ndarray:
        brain = array[array > 0]
        return np.where(array > 0, (array - brain.mean()) / brain.std(), background).astype(np.float32)

    def quantise(array: np.ndarray) -> np.ndarray:
        image = nib.Nifti1Image(scale(array, 0), np.eye(4))
        image.set_data_dtype(np.int16)
        return np.asarray(nib.Nifti1Image.from_bytes(image.to_bytes()).dataobj, np.float32)

    def add_noise(array: np.ndarray, *, level: float) -> np.ndarray:
        return (array + level * np.random.default_rng(0).standard_normal(array.shape)).astype(np.float32)

    alterations: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "minus_1": partial(scale, background=-1),
        "within": partial(scale, background=0.3),
        "quantised": quantise,
        "plus_1000": lambda array: array + 1000,
        "minus_1024": lambda array: array - 1024,
        "z_score_of_all": lambda array: ((array - array.mean()) / array.std()).astype(np.float32),
        "noise_1e-4": partial(add_noise, level=1e-4),
        "noise_1": partial(add_noise, level=1),
    }
    for name, alter in alterations.items():
        for kinds in (SCANS, ("t2",)):
            yield Fault("background that is not 0", f"background_{name}_{len(kinds)}", _altered(kinds, alter))


def _heads() -> Iterator[Fault]:
    def with_air(array: np.ndarray, *, level: float) -> np.ndarray:
        noise = level * np.random.default_rng(0).standard_normal((2, *array.shape))
        return np.maximum(np.hypot(array + noise[0], noise[1]), 1).round().astype(np.int16)

    def with_bone(array: np.ndarray) -> np.ndarray:
        axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in SHAPE], indexing="ij")
        radius = np.sqrt(sum(axis**2 for axis in axes))
        return np.select([radius < 0.55, radius < 0.75, radius < 0.89], [array, 20, 400], 0).astype(np.int16)

    for level in (50, 150):
        yield Fault("whole head", f"head_air_{level}", _altered(SCANS, partial(with_air, level=level)))
        yield Fault(
            "whole head", f"head_air_{level}_t2", _altered(("t2",), partial(with_air, level=level)), kinds=("t2",)
        )
    large = np.diag([-7.0, -7, 7, 1])
    for kinds in (SCANS, ("t1",)):

        def grow(files: Files, kinds: tuple[str, ...] = kinds) -> None:
            for kind in KINDS:
                array = voxels(kind)
                store(files[kind], nifti(kind, with_bone(array) if kind in kinds else array, affine=large))

        yield Fault("whole head", f"head_bone_{len(kinds)}", grow, kinds=kinds)


def _meanings() -> Iterator[Fault]:
    label = voxels("seg").astype(np.float32)
    arrays: dict[str, np.ndarray] = {
        "3_9999": np.where(label == 4, 3.9999998, label).astype(np.float32),
        "1_0039": np.where(label > 0, label + 0.0039, 0).astype(np.float32),
        "float64": label.astype(np.float64),
        "trailing_axis": label[..., None],
        "one_hot": np.stack([label == value for value in (1, 2, 4)], axis=-1).astype(np.uint8),
        "cavity": np.where(label == 4, 3, np.where(label == 1, 4, label)).astype(np.uint8),
        "1_02": label * np.float32(1.02),
    }
    for name, array in arrays.items():
        whole = partial(_as_nifti, array=array)
        yield Fault("labels that mean something else", f"meaning_{name}", change(("seg",), whole), kinds=("seg",))


def _names_of_data_sets() -> Iterator[Fault]:
    conventions = {
        "UCSF": ("T1", "T1c", "T2", "FLAIR", "tumor_segmentation"),
        "UPENN": ("T1", "T1GD", "T2", "FLAIR", "segm"),
        "BIDS": ("T1w", "ce-gadolinium_T1w", "T2w", "FLAIR", "dseg"),
        "TCGA": ("t1", "t1Gd", "t2", "flair", "GlistrBoost_ManuallyCorrected"),
        "post": ("t1_pre", "t1post", "t2", "t2_flair", "seg"),
        "unknown": ("t1", "contrast", "t2", "flair", "seg"),
    }

    def rename(files: Files, names: tuple[str, ...]) -> None:
        for (kind, file), name in zip(files.items(), names):
            file.rename(file.with_name(file.name.replace(f"_{kind}.", f"_{name}.")))

    for data_set, names in conventions.items():
        case = f"sub-{data_set}" if data_set == "BIDS" else f"names-{data_set}"
        yield Fault("names of other data sets", case, partial(rename, names=names), kinds=KINDS)


def _misnamed() -> Iterator[Fault]:
    contents: dict[str, Bytes] = {
        "not_compressed": gzip.decompress,
        "web_page": lambda _: b"<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
        "lfs": lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    }
    for name, content in contents.items():
        yield Fault("misnamed files", f"misnamed_{name}", change_stored("t1", content), kinds=("t1",))
    compressed = change_stored("t1", gzip.compress)
    yield Fault("misnamed files", "misnamed_compressed", compressed, suffix=".nii", kinds=("t1",))


def _units() -> Iterator[Fault]:
    for code, unit in enumerate(("unknown", "metres", "mm", "micrometres")):
        for kinds in (SCANS, ("seg",)):
            lie = partial(with_fields, xyzt_units=(code,))
            yield Fault("units", f"units_{unit}_{len(kinds)}", change(kinds, lie), kinds=kinds)


def _segments() -> Iterator[Fault]:
    names = {
        "renumbered": ("NCR", "edema", "enhancing tumor"),
        "unknown": ("Segment_1", "Segment_2", "Segment_3"),
        "without": (),
    }

    def save(files: Files, names: tuple[str, ...]) -> None:
        image = itk.image_from_array(np.ascontiguousarray(voxels("seg").T))
        fields = image.GetMetaDataDictionary()
        for index, (name, value) in enumerate(zip(names, (1, 2, 4))):
            fields[f"Segment{index}_Name"], fields[f"Segment{index}_LabelValue"] = name, str(value)
        itk.imwrite(image, str(files["seg"]).replace(".nii.gz", ".seg.nrrd"), compression=True)
        files["seg"].unlink()

    for name, segments in names.items():
        yield Fault("segments of 3D Slicer", f"segments_{name}", partial(save, names=segments), kinds=("seg.seg.nrrd",))


def _odd() -> Iterator[Fault]:
    alterations: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
        "cut_off": (lambda array: array.clip(max=255).astype(np.uint8), "what is brighter was cut off"),
        "wrapped": (lambda array: array.astype(np.uint8), "have wrapped around"),
        "mask": (lambda array: ((array > 0) * 100).astype(np.int16), "everywhere in the brain, as a mask"),
    }
    for name, (alter, words) in alterations.items():
        for kinds in (SCANS, ("flair",)):
            damage = _altered(kinds, alter)
            yield Fault("odd intensities", f"odd_{name}_{len(kinds)}", damage, kinds=kinds, warned=words)

    def copy(files: Files) -> None:
        files["flair"].write_bytes(files["t2"].read_bytes())

    yield Fault("odd intensities", "odd_copy", copy, kinds=("flair",), warned="are identical")


def _altered(kinds: tuple[str, ...], alter: Callable[[np.ndarray], np.ndarray]) -> Callable[[Files], None]:
    def damage(files: Files) -> None:
        for kind in kinds:
            store(files[kind], nifti(kind, alter(voxels(kind))))

    return damage


def _as_nifti(content: bytes, *, array: np.ndarray) -> bytes:
    return nifti("", array)


def _link_away(files: Files) -> None:
    away = files["t1"].parent.parent / ".away.nii.gz"
    files["t1"].rename(away)
    files["t1"].symlink_to(away)


def _with_extension(content: bytes, *, size: int) -> bytes:
    head = with_fields(content, vox_offset=(HEADER + 32.0,))[:348]
    return head + b"\x01\0\0\0" + struct.pack("<2i", size, 6) + bytes(24) + content[HEADER:]


def _nifti2(shape: tuple[int, ...]) -> bytes:
    image = nib.Nifti2Image(voxels("t1"), np.eye(4))
    content = bytearray(image.to_bytes())
    struct.pack_into("<8q", content, 16, len(shape), *shape, *([1] * (7 - len(shape))))
    return bytes(content)
