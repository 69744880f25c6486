# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scripts.base.errors import BundleError
from scripts.base.results import write_result
from scripts.data.checks import check_case
from scripts.data.datalist import read_datalist
from scripts.data.discovery import find_cases
from tests.campaign import (
    EARLIER,
    INFERENCE,
    PEAK_GB,
    SMALL,
    SOUND,
    TRAIN,
    Outcome,
    finite_weights,
    infer,
    make_weights,
    run,
    train,
    write_cases,
)
from tests.faults import Fault, all_faults

FAULTS = {fault.case: fault for fault in all_faults()}
# odd, but sound: these must be segmented
HARMLESS = [
    "with spaces", "'single'", '"double"', "é à ü", "漢字", "🧠", "$HOME", "@dataset_dir", "-rf", "; touch EVALUATED",
    "<img src=x onerror=alert(1)>", "x" * 150, "null", "a.nii.gz", "to_sound_file", "loops_of_folders",
    "gzip_members", "forms_moved_4", "forms_turned_4", "slope_1e-12", "slope_1e30",
    "pixdim_2_mm_qform", "pixdim_2_mm_neither", "type_bits_lie", "voxel_minus_1e5", "array_one_voxel_4",
    "array_bool_4", "srow_negative",
    "background_minus_1_4", "background_quantised_4", "background_plus_1000_1", "background_noise_1e-4_4",
    "names-UCSF", "names-UPENN", "names-TCGA", "names-post",
]  # fmt: skip
OTHERS = [Fault("sound", f"sound_{index}", lambda files: None) for index in range(5)]
# of those, the ones whose label lies on the grid of before
OTHER_GRID = {"forms_moved_4", "forms_turned_4", "pixdim_2_mm_qform", "pixdim_2_mm_neither"}
# what is said of these tells the fault, not only that there is one
TOLD = {
    "cut_t1ce_50_nii_gz": "cannot be read, truncated or damaged",
    "cut_t1ce_50_nii": "is truncated, it ends before its voxels do",
    "dim_2_31_nii_gz": "(2048, 1024, 1024)",
    "dim_2d_nii": "must be 3D",
    "dim_5d_nii": "must be 3D",
    "offset_zero": "more voxels than its header announces",
    "dim_shorter_nii": "more voxels than its header announces",
    "dim_shorter_nii_gz": "more voxels than its header announces",
    "bomb_after_sound_voxels": "more voxels than its header announces",
    "pixdim_zero_qform": "disagree about the voxels",
    "pixdim_zero_neither": "disagree about the voxels",
    "pixdim_negative_qform": "disagree about the voxels",
    "pixdim_nan_sform": "disagree about the voxels",
    "pixdim_2_mm_sform": "disagree about the voxels",
    "pixdim_nan_qform": "voxels of",
    "srow_zero": "voxels of 0",
    "srow_large": "voxels of 1e+06",
    "srow_singular": "voxels of",
    "forms_mirrored_4": "sform and qform disagree",
    "forms_a_little_larger_4": "disagree about the voxels",
    "forms_turned_and_larger_4": "disagree about the voxels",
    "forms_swapped_4": "sform and qform disagree",
    "forms_doubled_4": "disagree about the voxels",
    "type_rgb": "only real numbers are allowed",
    "voxel_nan": "NaN",
    "voxel_1e300": "infinite",
    "array_zero_4": "0 everywhere",
    "array_tiny_4": "1 everywhere",
    "bomb_1024_1024_1024": "(1024, 1024, 1024)",
    "bomb_512_512_512": "0 everywhere",
    "new\nline": "cannot name a file",
    "x" * 240: "allowed are 200",
    "link_itself": "no such file",
    "link_dangling": "no such file",
    "link_zero": "pipe or a device",
    "pipe": "pipe or a device",
    "without_t2_file": "no T2 file",
    "head_air_150": "HD-BET or SynthStrip",
    "head_bone_1": "HD-BET or SynthStrip",
    "names-unknown": "has no T1ce file",
    "misnamed_not_compressed": "rename it to",
    "misnamed_compressed": "rename it to",
    "misnamed_web_page": "is a web page",
    "misnamed_lfs": "git lfs pull",
}


def wrong(outcomes: list[Outcome]) -> list[str]:
    return [f"{outcome.fault.case!r}: {outcome.wrong} ({outcome.said})" for outcome in outcomes if outcome.wrong]


def check(fault: Fault, dataset: Path) -> str | None:
    fault.write(dataset)
    (item,) = find_cases(str(dataset), labels="ignored")
    return check_case(item)


def test_the_campaign_is_large_and_repeats_itself(tmp_path: Path) -> None:
    assert len(FAULTS) == len(all_faults()) >= 300
    for fault in list(FAULTS.values())[::9]:
        contents = []
        for folder in (tmp_path / "one", tmp_path / "two"):
            fault.write(folder)
            files = sorted(path for path in (folder / fault.case).iterdir() if path.is_file() and not path.is_symlink())
            contents.append([path.read_bytes() for path in files if path.stat().st_size < 2**20])
        assert contents[0] == contents[1]
        assert contents[0] or fault.group == "gzip bombs"


@pytest.mark.parametrize("case", HARMLESS)
def test_what_is_odd_but_sound_has_no_fault(tmp_path: Path, case: str) -> None:
    assert check(FAULTS[case], tmp_path) is None


@pytest.mark.parametrize("case", TOLD)
def test_a_fault_is_told_in_words(tmp_path: Path, case: str) -> None:
    said = check(FAULTS[case], tmp_path) or "none"
    assert TOLD[case] in said
    assert said.isprintable()


def test_a_few_of_all_faults_go_through_the_command(tmp_path: Path) -> None:
    faults = [
        FAULTS[case] for case in ("cut_t1ce_50_nii_gz", "dim_2_31_nii", "bomb_behind", "new\nline", "pipe", "漢字")
    ]
    faults += [FAULTS[case] for case in HARMLESS[-8:]]
    outcomes, ended = infer(tmp_path, faults)
    assert not wrong(outcomes), ended.stderr
    assert {outcome.result for outcome in outcomes} == {"done", "refused"}
    assert ended.code == 1
    assert "Traceback" not in ended.stderr
    assert ended.peak_gb < PEAK_GB


@pytest.mark.slow
def test_every_fault_is_segmented_or_refused_by_name(tmp_path: Path) -> None:
    outcomes, ended = infer(tmp_path, list(FAULTS.values()))
    assert not wrong(outcomes)
    assert {outcome.fault.case for outcome in outcomes if outcome.result == "done"} >= set(HARMLESS)
    assert {outcome.fault.case for outcome in outcomes if outcome.result == "refused"} >= set(TOLD)
    assert ended.code == 1
    assert "Traceback" not in ended.stderr
    assert ended.peak_gb < PEAK_GB
    assert not list(Path.cwd().glob("EVALUATED"))


@pytest.mark.slow
def test_every_fault_is_trained_with_or_left_out_by_name(tmp_path: Path) -> None:
    outcomes, ended = train(tmp_path, list(FAULTS.values()))
    assert ended.code == 0, ended.stderr
    assert not wrong(outcomes)
    refused = {outcome.fault.case for outcome in outcomes if outcome.result == "refused"}
    assert refused >= set(TOLD) | {"seg_3_and_4", "seg_nan", "seg_missing", "seg_cropped"}
    assert refused & set(HARMLESS) == OTHER_GRID
    assert finite_weights(tmp_path / "trained")
    assert ended.peak_gb < PEAK_GB


# ---- data lists

ENTRY = {"image": ["/a_t1.nii", "/a_t1ce.nii", "/a_t2.nii", "/a_flair.nii"], "label": "/a_seg.nii"}
ODD_LISTS: dict[str, bytes] = {
    "empty": b"",
    "zeros": bytes(1000),
    "deep": b"[" * 100_000,
    "deep sections": b'{"training": ' + b"[" * 900 + b"]" * 900 + b', "validation": [{}]}',
    "cut": json.dumps({"training": [ENTRY], "validation": [ENTRY]}).encode()[:-30],
    "bytes": b"\xff\xfe\x00",
    "number": b"1e999",
    "long number": b"9" * 10_000,
    "list of lists": b'{"training": [[1]], "validation": [[2]]}',
    "texts": b'{"training": "abc", "validation": "abc"}',
    "image of numbers": b'{"training": [{"image": [1, 2, 3, 4]}], "validation": [{"image": {"a": 1}}]}',
    "label of numbers": json.dumps({"training": [ENTRY | {"label": 5}], "validation": [ENTRY]}).encode(),
    "layout of lists": json.dumps({"training": [ENTRY | {"layout": []}], "validation": [ENTRY]}).encode(),
    "image null": json.dumps({"training": [ENTRY | {"image": None}], "validation": [ENTRY]}).encode(),
    "nul": json.dumps({"training": [ENTRY | {"image": ["\0"] * 4}], "validation": [ENTRY]}).encode(),
    "lone surrogate": b'{"training": [{"image": "\\ud800", "label": "x"}], "validation": [{"image": "b"}]}',
    "same patient": json.dumps({"training": [ENTRY], "validation": [ENTRY]}).encode(),
}


@pytest.mark.parametrize("name", ODD_LISTS)
def test_odd_data_lists_are_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "list.json"
    path.write_bytes(ODD_LISTS[name])
    with pytest.raises(BundleError) as caught:
        read_datalist(str(path))
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


# ---- whole commands, each with one mistake


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("EVALUATED",)


def two_of_one_patient(folder: Path) -> dict[str, object]:
    files = {kind: str(folder / "cases" / SOUND.case / f"{SOUND.case}_{kind}.nii.gz") for kind in (*SOUND.kinds, "seg")}
    entry = {"image": [files[kind] for kind in SOUND.kinds], "label": files["seg"], "patient": "one"}
    path = folder / "list.json"
    path.write_text(json.dumps({"training": [entry | {"case": "a"}], "validation": [entry | {"case": "b"}]}))
    return {"datalist": path}


def weights_of(content: bytes | Bomb, name: str = "model") -> Callable[[Path], dict[str, object]]:
    def make(folder: Path) -> dict[str, object]:
        path = folder / "models" / f"{name}.pt"
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        return {"confidence": "true"}

    return make


def without(name: str) -> Callable[[Path], dict[str, object]]:
    def make(folder: Path) -> dict[str, object]:
        (folder / "models" / f"{name}.pt").unlink()
        return {"confidence": "true"}

    return make


def blocked(setting: str, mode: int) -> Callable[[Path], dict[str, object]]:
    def make(folder: Path) -> dict[str, object]:
        place = folder / setting
        place.mkdir(exist_ok=True)
        place.chmod(mode)
        return {setting: place}

    return make


def unreadable(name: str) -> Callable[[Path], dict[str, object]]:
    def make(folder: Path) -> dict[str, object]:
        (folder / "cases" / name).chmod(0)
        return {}

    return make


def one_case(folder: Path) -> dict[str, object]:
    for fault in OTHERS:
        shutil.rmtree(folder / "cases" / fault.case)
    return {}


def emptied(folder: Path) -> dict[str, object]:
    shutil.rmtree(folder / "cases")
    (folder / "cases").mkdir()
    return {}


def settings(**wrong: object) -> Callable[[Path], dict[str, object]]:
    return lambda folder: wrong


# the command, what is wrong, and words of the message
MISTAKES: dict[str, tuple[str, str, Callable[[Path], dict[str, object]], tuple[str, ...]]] = {
    "no such folder": ("training", TRAIN, settings(dataset_dir="/nowhere"), ("/nowhere", "no such folder")),
    "empty folder": ("training", TRAIN, emptied, ("cases", "no case found")),
    "too small to split": ("training", TRAIN, one_case, ("too small to split",)),
    "patient on both sides": ("training", TRAIN, two_of_one_patient, ("list.json", "patient one", "both sides")),
    "no data list": ("training", TRAIN, settings(datalist="/nowhere.json"), ("/nowhere.json",)),
    "batch size 0": ("training", TRAIN, settings(batch_size=0), ("batch_size is 0",)),
    "patch of 40": ("training", TRAIN, settings(patch_size=40), ("patch_size is 40", "multiple of 16")),
    "other width": ("inferring", INFERENCE, settings(features=16), ("model.pt", "another width", "--features")),
    "no weights": ("inferring", INFERENCE, without("model"), ("model.pt", "no weights")),
    "no critic": ("inferring", INFERENCE, without("critic"), ("critic.pt", "no weights")),
    "damaged weights": ("inferring", INFERENCE, weights_of(b"PK\3\4" + bytes(500)), ("model.pt", "damaged")),
    "empty weights": ("inferring", INFERENCE, weights_of(b""), ("model.pt", "damaged")),
    "weights with code": ("inferring", INFERENCE, weights_of(Bomb()), ("model.pt", "no checkpoint")),
    "critic with code": ("inferring", INFERENCE, weights_of(pickle.dumps(Bomb()), "critic"), ("critic.pt", "damaged")),
    "unreadable file": (
        "inferring",
        INFERENCE,
        unreadable(f"{SOUND.case}/{SOUND.case}_t2.nii.gz"),
        ("_t2.nii.gz", "denied"),
    ),
    "unreadable case": ("inferring", INFERENCE, unreadable(SOUND.case), (SOUND.case, "denied")),
    "unreadable folder": ("inferring", INFERENCE, unreadable("."), ("cases", "denied")),
    "output not writable": ("inferring", INFERENCE, blocked("output_dir", 0o500), ("output_dir", "denied")),
    "weights not writable": ("training", TRAIN, blocked("ckpt_dir", 0o500), ("ckpt_dir", "denied")),
    "cache not writable": ("inferring", INFERENCE, blocked("cache_dir", 0o500), ("cache_dir", "denied")),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_ends_a_command_with_its_name(tmp_path: Path, name: str) -> None:
    run_id, config, make, words = MISTAKES[name]
    write_cases(tmp_path / "cases", OTHERS)
    make_weights(tmp_path / "models")
    output = tmp_path / "output_dir"
    output.mkdir()
    earlier = output / f"{SOUND.case}_seg.nii.gz"
    write_result(earlier, EARLIER)
    places = {"dataset_dir": tmp_path / "cases", "output_dir": output, "cache_dir": tmp_path / "cache_dir"}
    wrong = make(tmp_path)
    models = {"ckpt_dir": tmp_path / "models"}
    ended = run(run_id, config, unprivileged=True, settings=SMALL | places | models | wrong)
    message = ended.stderr.partition("error: ")[2]
    assert ended.code == 1
    assert "Traceback" not in ended.stderr
    assert all(word in message for word in words), message
    assert len(message.strip().splitlines()) <= 2
    assert earlier.read_bytes() == EARLIER
    assert not Path("EVALUATED").exists()
