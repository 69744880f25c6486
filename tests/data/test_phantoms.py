# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from scripts.base.errors import BundleError
from scripts.data.phantoms import make_cohort, make_phantom
from tests import commands

ROOT = Path(__file__).parents[2]
T1, T1CE, T2, FLAIR = range(4)
NECROSIS, OEDEMA, ENHANCING = 1, 2, 4
SMALL = (32, 32, 32)


@pytest.fixture(scope="module")
def phantom() -> tuple[np.ndarray, np.ndarray]:
    return make_phantom(6)


def deep_white_matter(image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """The voxels nearest the commonest T1 intensity, far from the brain's surface and from the tumour."""
    deep = ndimage.binary_erosion(image[T1] > 0, iterations=8) & ~ndimage.binary_dilation(label > 0, iterations=3)
    return deep & (np.abs(image[T1] - np.median(image[T1][deep])) < 0.1 * np.median(image[T1][deep]))


def test_same_arguments_give_the_same_bits(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    for first, second in zip(phantom, make_phantom(6)):
        np.testing.assert_array_equal(first, second)


def test_the_number_of_threads_does_not_show(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    code = (
        "import zlib; from scripts.data.phantoms import make_phantom; print(zlib.crc32(make_phantom(6)[0].tobytes()))"
    )
    for threads in ("1", "2"):
        limits = {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=os.environ | limits, capture_output=True, text=True, check=True
        )
        assert int(done.stdout) == zlib.crc32(phantom[0].tobytes())


def test_another_seed_is_another_patient(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    image, label = make_phantom(7)
    assert ((image[T1] > 0) != (phantom[0][T1] > 0)).any()
    assert (label != phantom[1]).any()


def test_a_seed_is_one_anatomy_at_any_resolution(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    fine, coarse = phantom[1] > 0, make_phantom(6, shape=(48, 48, 40))[1] > 0
    centres = [np.array(ndimage.center_of_mass(mask)) - (np.array(mask.shape) - 1) / 2 for mask in (fine, coarse)]
    # the outline cuts some 290 voxels of 5 mm, which count whole or not at all: a standard deviation of sqrt(290 / 12)
    # voxels, 1 % of the 467 in the tumour, and of 0.18 mm of their centre along an axis; five deviations
    np.testing.assert_allclose(centres[0] * 240 / 96, centres[1] * 240 / 48, rtol=0, atol=0.9)
    assert coarse.sum() * 8 == pytest.approx(fine.sum(), rel=0.05)  # five deviations


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(*[st.integers(32, 40)] * 3),
    enhancing=st.booleans(),
)
def test_every_phantom_is_a_brain_with_a_tumour_in_it(seed: int, shape: tuple[int, ...], enhancing: bool) -> None:
    image, label = make_phantom(seed, shape=shape, enhancing=enhancing)
    assert image.shape == (4, *shape)
    assert image.dtype == np.int16
    assert label.shape == shape
    assert label.dtype == np.uint8
    brain = (image > 0).all(0)
    np.testing.assert_array_equal(image[:, ~brain], 0)
    assert 1.2e6 < brain.sum() * (240 / shape[0]) ** 3 < 2.2e6  # cubic millimetres
    assert ndimage.label(brain)[1] == 1
    assert not label[~brain].any()
    assert {0, OEDEMA, ENHANCING if enhancing else NECROSIS} <= set(np.unique(label))
    assert set(np.unique(label)) <= {0, NECROSIS, OEDEMA, *([ENHANCING] if enhancing else [])}


@pytest.mark.parametrize("seed", range(6))
def test_rim_encloses_necrosis_and_lies_in_the_tumour(seed: int) -> None:
    _, label = make_phantom(seed)
    assert set(np.unique(label)) == {0, NECROSIS, OEDEMA, ENHANCING}
    core = np.isin(label, (NECROSIS, ENHANCING))
    necrosis = label == NECROSIS
    shell = ndimage.binary_dilation(necrosis) & ~necrosis
    assert (label[shell] == ENHANCING).mean() > 0.98
    # At 2.5 mm the rim is wider than one voxel, so the necrosis stays clear of the outline of the core.
    assert (ndimage.binary_erosion(core) & (label == ENHANCING)).any()
    assert np.bincount(ndimage.label(core)[0][core]).max() > 0.95 * core.sum()
    assert ndimage.binary_dilation(core)[label == OEDEMA].any()


@pytest.mark.parametrize("seed", range(6))
def test_tissues_look_as_published(seed: int) -> None:
    image, label = make_phantom(seed)
    white = np.median(image[:, deep_white_matter(image, label)], axis=1)
    enhancing, necrosis, oedema = (
        np.median(image[:, label == value], axis=1) / white for value in (ENHANCING, NECROSIS, OEDEMA)
    )
    assert enhancing[T1CE] > 1.3
    assert enhancing[T1CE] > 1.3 * enhancing[T1]
    assert necrosis[T1CE] < 0.7 * enhancing[T1CE]
    assert necrosis[T1] < enhancing[T1]
    assert oedema[FLAIR] > 1.2
    assert oedema[T2] > 1.2
    assert oedema[T1] < 1


def test_modalities_differ_in_their_scale(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    image, _ = phantom
    medians = [np.median(channel[channel > 0]) for channel in image]
    assert max(medians) > 1.5 * min(medians)
    assert 0 < image.max() < np.iinfo(np.int16).max


def test_no_threshold_gives_the_tumour_away(phantom: tuple[np.ndarray, np.ndarray]) -> None:
    image, label = phantom
    for channel, region in ((T1CE, label == ENHANCING), (T2, label > 0), (FLAIR, label > 0)):
        brain = image[channel][image[channel] > 0]
        masks = (image[channel] > threshold for threshold in np.percentile(brain, np.arange(50, 100)))
        best = max(2 * (mask & region).sum() / (mask.sum() + region.sum()) for mask in masks)
        assert best < 0.9


def test_cohort_has_the_brats_layout_and_geometry(tmp_path: Path) -> None:
    folder = make_cohort(tmp_path / "made" / "cohort", cases=6, shape=(40, 36, 32), seed=3)
    assert folder == str(tmp_path / "made" / "cohort")
    cases = [Path(folder, f"phantom_{index:03d}") for index in range(6)]
    assert {*Path(folder).iterdir()} == {*cases, Path(folder, "phantom.json")}
    for case in cases:
        names = {f"{case.name}_{name}.nii.gz": name for name in ("t1", "t1ce", "t2", "flair", "seg")}
        assert {path.name for path in case.iterdir()} == set(names)
        for file, name in names.items():
            nifti = nib.Nifti1Image.from_filename(case / file)
            assert nifti.shape == (40, 36, 32)
            assert nifti.get_data_dtype() == (np.uint8 if name == "seg" else np.int16)
            np.testing.assert_array_equal(nifti.affine, [[-6, 0, 0, 0], [0, -6, 0, 210], [0, 0, 6, 0], [0, 0, 0, 1]])
            assert nib.aff2axcodes(nifti.affine) == ("L", "P", "S")
            assert nifti.header["descrip"].item() == b"phantom, not a patient"


def test_every_sixth_case_does_not_enhance(tmp_path: Path) -> None:
    folder = Path(make_cohort(tmp_path / "cohort", cases=7, shape=SMALL))
    labels = [nib.Nifti1Image.from_filename(path).get_fdata() for path in sorted(folder.glob("*/*_seg.nii.gz"))]
    assert [bool((label == ENHANCING).any()) for label in labels] == [True] * 5 + [False, True]


def test_cases_depend_on_seed_and_index_alone(tmp_path: Path) -> None:
    def case(name: str, index: int, cases: int, seed: int) -> np.ndarray:
        folder = make_cohort(tmp_path / name, cases=cases, shape=SMALL, seed=seed)
        return nib.Nifti1Image.from_filename(f"{folder}/phantom_00{index}/phantom_00{index}_t1.nii.gz").get_fdata()

    first = case("short", 1, 2, 0)
    np.testing.assert_array_equal(first, case("long", 1, 3, 0))
    assert (first != case("short", 0, 2, 0)).any()
    assert (first != case("other", 0, 2, 1)).any()  # seeds do not share patients by a shift


def files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_same_cohort_is_made_once(tmp_path: Path) -> None:
    make_cohort(tmp_path / "cohort", cases=2, shape=SMALL)
    before = files(tmp_path)
    assert make_cohort(tmp_path / "cohort", cases=2, shape=list(SMALL)) == str(tmp_path / "cohort")
    assert files(tmp_path) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    make_cohort(tmp_path, cases=1, shape=SMALL)
    assert json.loads((tmp_path / "phantom.json").read_text())["cases"] == 1


def leave_a_file(folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")


def leave_another_cohort(folder: Path) -> None:
    make_cohort(folder, cases=1, shape=SMALL, seed=1)


def leave_a_plain_file(folder: Path) -> None:
    folder.write_text("mine")


@pytest.mark.parametrize("leave", [leave_a_file, leave_another_cohort, leave_a_plain_file])
def test_data_of_others_is_never_overwritten(leave: Callable[[Path], None], tmp_path: Path) -> None:
    leave(tmp_path / "cohort")
    before = files(tmp_path)
    with pytest.raises(BundleError, match="another folder"):
        make_cohort(tmp_path / "cohort", cases=1, shape=SMALL)
    assert files(tmp_path) == before


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_interruption_leaves_nothing_behind(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = nib.save

    def fail_in_the_third_case(image: nib.Nifti1Image, path: Path) -> None:
        if "phantom_002" in str(path):
            raise error("interrupted")
        save(image, path)

    monkeypatch.setattr(nib, "save", fail_in_the_third_case)
    with pytest.raises(error, match="interrupted"):
        make_cohort(tmp_path / "cohort", cases=3, shape=SMALL)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(nib, "save", save)
    make_cohort(tmp_path / "cohort", cases=3, shape=SMALL)
    assert len(files(tmp_path)) == 3 * 5 + 1


def test_a_faster_process_is_welcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rename = Path.rename

    def come_second(source: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        make_cohort(target, cases=1, shape=SMALL)
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", come_second)
    assert make_cohort(tmp_path / "cohort", cases=1, shape=SMALL) == str(tmp_path / "cohort")
    assert [path.name for path in tmp_path.iterdir()] == ["cohort"]


@pytest.mark.parametrize(
    ("cases", "shape", "seed"), [(0, SMALL, 0), (1, (31, 32, 32), 0), (1, (32, 32), 0), (1, SMALL, -1)]
)
def test_impossible_arguments_are_refused(cases: int, shape: tuple[int, ...], seed: int, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="at least 1 case"):
        make_cohort(tmp_path / "cohort", cases=cases, shape=shape, seed=seed)
    assert list(tmp_path.iterdir()) == []


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run("scripts.data.phantoms", *arguments)


def test_command_line_makes_a_cohort(tmp_path: Path) -> None:
    done = run(str(tmp_path / "cohort"), "--cases", "2", "--shape", "36", "34", "32", "--seed", "5")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"2 phantom cases are in {tmp_path / 'cohort'}\n"
    record = json.loads((tmp_path / "cohort" / "phantom.json").read_text())
    assert {key: record[key] for key in ("cases", "shape", "seed")} == {"cases": 2, "shape": [36, 34, 32], "seed": 5}


def test_command_line_tells_a_mistake_in_one_line(tmp_path: Path) -> None:
    done = run(str(tmp_path / "cohort"), "--cases", "0")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
