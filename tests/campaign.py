# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import argparse
import ctypes
import gzip
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser

from scripts.base.errors import one_line
from scripts.base.results import write_result
from scripts.data.headers import AFFINE_TOLERANCE
from tests.faults import Fault, all_faults, nifti
from tests.tolerances import FLOAT32

BUNDLE = Path(__file__).parents[1]
INFERENCE = "configs/inference.yaml"
TRAIN = "configs/train.yaml"
SMALL: dict[str, object] = {"features": 8, "critic_features": 4, "spacing": 1.0, "patch_size": 16}


# the content of a label map that an earlier run wrote
EARLIER = gzip.compress(nib.Nifti1Image(np.full((2, 2, 2), 4, np.uint8), np.eye(4)).to_bytes(), mtime=0)
SOUND = Fault("sound", "sound_case", lambda files: None)
PEAK_GB = 2.0
# what the first versions made of the groups that they did not yet know; the others came out as now
BEFORE = {
    "background that is not 0": "segmented in silence, Dice of WT down to 0.33 from 0.88",
    "whole head": "segmented in silence, Dice of WT 0.54 in place of 0.88",
    "labels that mean something else": "3.9999 refused; a cavity taken for enhancing tumour once renamed",
    "names of other data sets": "refused, as if modalities were missing",
    "misnamed files": "refused as damaged",
    "units": "refused for their spacing, or not noticed",
    "segments of 3D Slicer": "read by their numbers, whatever their names",
    "odd intensities": "cut off or wrapped in silence, Dice down to 0",
}
# runs a command and writes its peak memory into a file: a process counts as its own the memory of the one that started
# it, so that what starts it must be small
MEASURED = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[2:]).returncode; "
    "open(sys.argv[1], 'w').write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)); sys.exit(code)"
)


@dataclass
class Outcome:
    """What a command made of a faulty case: `done`, or `refused` with what it said; `wrong` says what is not as due."""

    fault: Fault
    result: str
    said: str = ""
    wrong: str = ""


@dataclass
class Run:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str
    peak_gb: float


def run(run_id: str, config: str, *, unprivileged: bool = False, settings: Mapping[str, object]) -> Run:
    """Runs one of the bundle's commands; unprivileged, without root's right to read and write everything."""
    options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", config, *options]
    with tempfile.NamedTemporaryFile("r") as peak:
        os.chmod(peak.name, 0o666)
        ended = _run([sys.executable, "-c", MEASURED, peak.name, *command], unprivileged=unprivileged)
        kilobytes = int(peak.read())
    out, err = (stream.decode(errors="replace") for stream in (ended.stdout, ended.stderr))
    return Run(ended.returncode, out, err, kilobytes * 1024 / 1e9)


def _run(command: Sequence[str], *, unprivileged: bool) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command,
        cwd=BUNDLE,
        capture_output=True,
        timeout=3600,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
        preexec_fn=_drop_privileges if unprivileged else None,
    )


def make_weights(folder: Path) -> Path:
    """Weights of an untrained network, which sees every region somewhere."""
    folder.mkdir(parents=True, exist_ok=True)
    parser = ConfigParser()
    parser.read_config(str(BUNDLE / INFERENCE))
    parser.update(SMALL | {"device": "cpu"})
    torch.manual_seed(0)
    torch.save(parser.get_parsed_content("network").state_dict(), folder / "model.pt")
    torch.save(parser.get_parsed_content("critic").state_dict(), folder / "critic.pt")
    return folder


def write_cases(folder: Path, faults: Sequence[Fault]) -> Path:
    """Writes the faulty cases and a sound one."""
    for fault in (SOUND, *faults):
        fault.write(folder)
    return folder


def infer(folder: Path, faults: Sequence[Fault]) -> tuple[list[Outcome], Run]:
    """Segments all cases by one command, over results of an earlier run."""
    dataset, output = write_cases(folder / "cases", faults), folder / "out"
    output.mkdir()
    for fault in faults:
        if len(os.fsencode(fault.case)) < 200:
            write_result(output / f"{fault.case}_seg.nii.gz", EARLIER)
    weights = make_weights(folder / "models")
    places: dict[str, object] = {
        "dataset_dir": dataset,
        "output_dir": output,
        "ckpt_dir": weights,
        "cache_dir": folder / "cache",
    }
    ended = run("inferring", INFERENCE, settings=SMALL | places)
    refused = _refusals(ended.stderr.partition("error: cases left out: ")[2], "  ")
    expected = output / f"{SOUND.case}_seg.nii.gz"
    if not expected.is_file():
        raise AssertionError(f"the sound case was lost: {ended.stderr[-4000:]}")
    reference = nib.Nifti1Image.from_filename(expected)
    outcomes = []
    for fault in faults:
        said = refused.get(one_line(fault.case))
        result = Outcome(fault, "done" if said is None else "refused", said or "")
        result.wrong = _misnamed(fault.kinds, fault, said) if said else _wrong_result(fault, dataset, output, reference)
        earlier = output / f"{fault.case}_seg.nii.gz"
        if fault.warned and not _warned(fault, ended.stdout + ended.stderr):
            result.wrong = "no warning names a damaged file"
        if said and len(os.fsencode(fault.case)) < 200 and earlier.read_bytes() != EARLIER:
            result.wrong = "an earlier result was overwritten"
        outcomes.append(result)
    return outcomes, ended


def train(folder: Path, faults: Sequence[Fault]) -> tuple[list[Outcome], Run]:
    """Trains with all cases by one command that leaves the faulty ones out."""
    dataset = write_cases(folder / "cases", faults) if not (folder / "cases").exists() else folder / "cases"
    settings = {
        "epochs": 1,
        "batch_size": 4,
        "val_interval": 1,
        "vat_start": 0,
        "critic_start": 0,
        "critic_ramp": 0,
        "skip_invalid": "true",
    }
    places = {"output_dir": folder / "trained", "ckpt_dir": folder / "trained", "cache_dir": folder / "trained_cache"}
    ended = run("training", TRAIN, settings=SMALL | {"batch_size": 4} | settings | places | {"dataset_dir": dataset})
    refused = _refusals(ended.stdout + ended.stderr, "left out case ")
    outcomes = []
    for fault in faults:
        said = refused.get(one_line(fault.case))
        result = Outcome(fault, "done" if said is None else "refused", said or "")
        # where scans are damaged alike, it is the label whose grid differs
        result.wrong = _misnamed((*fault.kinds, "seg"), fault, said) if said else ""
        outcomes.append(result)
    return outcomes, ended


def finite_weights(folder: Path) -> bool:
    """Whether a training wrote its weights, and they are numbers."""
    weights = [torch.load(folder / f"{name}.pt", weights_only=True) for name in ("model", "critic")]
    return all(bool(tensor.isfinite().all()) for state in weights for tensor in state.values())


def table(inferred: Sequence[Outcome], trained: Sequence[Outcome]) -> str:
    """A table (Markdown) of the outcomes by group."""
    rows = ["| what is wrong | inputs | segmented | refused by name | trained with | refused by name | before |"]
    rows.append("|---|---|---|---|---|---|---|")
    groups = list(dict.fromkeys(outcome.fault.group for outcome in inferred))
    total: Counter[str] = Counter()
    for group in groups:
        count: Counter[str] = Counter()
        for command, outcomes in (("infer", inferred), ("train", trained)):
            count.update(f"{command} {outcome.result}" for outcome in outcomes if outcome.fault.group == group)
        count["inputs"] = sum(outcome.fault.group == group for outcome in inferred)
        total.update(count)
        rows.append(_row(group, count))
    return "\n".join([*rows, _row("**all**", total).removesuffix("as now |") + " |"])


def main() -> None:
    """Command line: runs the whole campaign and writes its page."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description="Tries every faulty input.")
    parser.add_argument("--output", help="a page (Markdown) in which the table is put in place of the old one")
    parser.add_argument("--every", type=int, default=1, help="only each n-th faulty case (1)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faults = all_faults()[:: args.every]
        inferred, first = infer(Path(folder), faults)
        trained, second = train(Path(folder), faults)
        for command, outcomes in (("inferring", inferred), ("training", trained)):
            for outcome in outcomes:
                if outcome.wrong:
                    print(f"WRONG: {command} {outcome.fault.case!r}: {outcome.wrong} ({outcome.said})")
        print(first.stderr[-2000:] if first.code != 1 else "", second.stderr[-2000:] if second.code else "")
        found = table(inferred, trained)
        print(found)
        print(
            json.dumps(
                {
                    "peak_gb": [round(first.peak_gb, 2), round(second.peak_gb, 2)],
                    "finite": finite_weights(Path(folder, "trained")),
                }
            )
        )
    if args.output:
        page = Path(args.output)
        before, _, rest = page.read_text().partition("<!-- table -->")
        page.write_text(f"{before}<!-- table -->\n{found}\n<!-- end -->{rest.partition('<!-- end -->')[2]}")


def _refusals(text: str, before: str) -> dict[str, str]:
    """What is said of each case: `<before><case>: <file>: <fault>`."""
    lines = [line.partition(before)[2] for line in text.splitlines() if before in line]
    return {case: said for case, separator, said in (line.partition(": /") for line in lines) if separator}


def _misnamed(kinds: Sequence[str], fault: Fault, said: str) -> str:
    stem = one_line(f"{fault.case}/{fault.case}_")
    named = any(f"{stem}{kind if '.' in kind else kind + fault.suffix}" in said for kind in kinds)
    return "" if named or f"{one_line(fault.case)}: has no" in said else "no damaged file is named"


def _warned(fault: Fault, text: str) -> bool:
    files = [f"{fault.case}_{kind}{fault.suffix}" for kind in fault.kinds]
    return any(fault.warned in line and any(file in line for file in files) for line in text.splitlines())


def _wrong_result(fault: Fault, dataset: Path, output: Path, reference: nib.Nifti1Image) -> str:
    """Compares a result with its input's geometry, and with the sound case's where the input reads as that does."""
    written = output / f"{fault.case}_seg.nii.gz"
    if not written.is_file() or written.read_bytes() == EARLIER:
        return "neither segmented nor refused"
    result = nib.Nifti1Image.from_filename(written)
    labels = np.asarray(result.dataobj)
    images = [
        nib.Nifti1Image.from_filename(path)
        for kind in fault.kinds
        if kind != "seg" and (path := dataset / fault.case / f"{fault.case}_{kind}{fault.suffix}").exists()
    ]
    images = images or [nib.Nifti1Image.from_filename(next((dataset / fault.case).glob("*[tT]1*")))]
    expected = images[0].shape[:3] if set(images[0].shape[3:]) <= {1} else images[0].shape
    # the loader may correct an affine by so much, and the result holds it in float32
    near = np.allclose(result.affine, images[0].affine, rtol=FLOAT32, atol=AFFINE_TOLERANCE)
    if labels.shape != expected or not near:
        return f"the result's grid {labels.shape} is not the input's {expected}"
    if not set(np.unique(labels)) <= {0, 1, 2, 4}:
        return f"the result's labels are {np.unique(labels)}"
    sound = [nib.Nifti1Image.from_bytes(nifti(kind)) for kind in ("t1", "t1ce", "t2", "flair") if kind in fault.kinds]
    same = len(sound) == len(images) and all(
        image.shape == other.shape
        and np.array_equal(image.affine, other.affine)
        and np.array_equal(image.get_fdata(), other.get_fdata())
        for image, other in zip(images, sound)
    )
    if same and not np.array_equal(labels, np.asarray(reference.dataobj)):
        return "it reads as the sound case does, and its result differs"
    if fault.group == "background that is not 0" and (labels != np.asarray(reference.dataobj)).mean() > 0.01:
        return "its background is found, and its result differs from the sound case's"
    return ""


def _row(name: str, count: Counter[str]) -> str:
    figures = ("inputs", "infer done", "infer refused", "train done", "train refused")
    cells = [name, *(str(count[figure]) for figure in figures), BEFORE.get(name, "as now")]
    return f"| {' | '.join(cells)} |"


def _drop_privileges() -> None:
    # PR_CAPBSET_DROP of CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: exec() takes root's capabilities out of this set
    library = ctypes.CDLL(None)
    for capability in (1, 2):
        library.prctl(24, capability, 0, 0, 0)


if __name__ == "__main__":
    main()
