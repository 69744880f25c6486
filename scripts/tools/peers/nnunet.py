# SPDX-License-Identifier: Apache-2.0
"""nnU-Net v2 with its own plan, training and inference, for a given time; runs as a process of its own."""

from __future__ import annotations

import argparse
import gzip
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.transforms import Compose, LoadImaged
from monai.transforms import ConvertToMultiChannelBasedOnBratsClasses as ToRegions

from scripts.base.errors import BundleError, report_bundle_errors
from scripts.base.results import write_result
from scripts.base.text_files import write_csv, write_json
from scripts.brats import MODALITIES, REGIONS, Item
from scripts.data.datalist import read_datalist
from scripts.data.transforms import BratsLabeld
from scripts.evaluation.metrics.case_metrics import case_metrics

DATASET, NUMBER = "Dataset001_BraTS", 1
PLANS = "nnUNetPlans"
SPACING = 2.0  # mm, as in train.yaml
ITERATIONS = 25  # of an epoch, at whose end nnU-Net lowers its learning rate
PROBE = 4  # iterations that are timed
# label values 1 core, 2 oedema, 3 enhancing, as nnU-Net wants them without a gap
LABELS = {"background": 0, "whole tumour": [1, 2, 3], "tumour core": [1, 3], "enhancing tumour": [3]}
ENHANCING = 3


def main() -> None:
    """Command line: prepares, trains, predicts the data list's `validation`, and scores it."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.peers.nnunet", description=__doc__)
    parser.add_argument("datalist", help="data list of cases of four files")
    parser.add_argument("folder", help="of everything that is written")
    parser.add_argument("--minutes", type=float, default=30, help="of the training (30)")
    args = parser.parse_args()
    folder = Path(args.folder).resolve()
    for name in ("raw", "preprocessed", "results"):
        os.environ[f"nnUNet_{name}"] = str(folder / name)  # nnU-Net reads them when it is imported
    os.environ |= {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "1", "nnUNet_compile": "false"}
    torch.manual_seed(0)
    training, validation = read_datalist(args.datalist)
    prepare(training, validation, folder)
    cost = train(folder, minutes=args.minutes)
    score(validation, folder)
    write_json(folder / "cost.json", cost | {"case_seconds": cost["case_seconds"] / len(validation)})


def prepare(training: Sequence[Item], validation: Sequence[Item], folder: Path) -> None:
    """Writes the cases as nnU-Net wants them, and has it plan and preprocess.

    Raises:
        BundleError: if a case is not of four files.
    """
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    raw = folder / "raw" / DATASET
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True, exist_ok=True)
    for item in (*training, *validation):
        write_case(item, raw)
    write_json(
        raw / "dataset.json",
        {
            "channel_names": dict(enumerate(MODALITIES)),
            "labels": LABELS,
            "regions_class_order": [2, 1, ENHANCING],
            "numTraining": len(training) + len(validation),
            "file_ending": ".nii.gz",
        },
    )
    extract_fingerprints([NUMBER], num_processes=1, show_progress_bar=False)
    plan_experiments([NUMBER], overwrite_target_spacing=(SPACING,) * 3, overwrite_plans_name=PLANS)
    preprocess([NUMBER], PLANS, configurations=["3d_fullres"], num_processes=[1], show_progress_bar=False)
    sides = {"train": [item["case"] for item in training], "val": [item["case"] for item in validation]}
    write_json(folder / "preprocessed" / DATASET / "splits_final.json", [sides])


def write_case(item: Item, raw: Path) -> None:
    """Links the scans of a case, and writes its label map with the values of `LABELS`."""
    if len(item["image"]) != len(MODALITIES):
        raise BundleError(f"case {item['case']}: is not of four files; give cases of four, as BraTS has them")
    for number, scan in enumerate(item["image"]):
        link = raw / "imagesTr" / f"{item['case']}_{number:04d}.nii.gz"
        if not link.is_symlink():
            link.symlink_to(Path(scan).resolve())
    values = read_truth(item)
    affine = nib.nifti1.load(item["label"]).affine
    label = gzip.compress(nib.Nifti1Image(values, affine).to_bytes(), mtime=0)
    write_result(raw / "labelsTr" / f"{item['case']}.nii.gz", label)


def read_truth(item: Item) -> np.ndarray:
    """Returns the label map of a case with the values of `LABELS`."""
    load = Compose([LoadImaged("label", ensure_channel_first=True), BratsLabeld("label")])
    values = load(item)["label"][0].numpy().astype(np.uint8)
    values[values == 4] = ENHANCING
    return values


def train(folder: Path, *, minutes: float) -> dict[str, Any]:
    """Trains for about so many minutes, predicts the validation, and returns what both cost."""
    os.environ |= {"nnUNet_n_proc_DA": "0"}  # batches are made on the one core as well; planning does not take a 0
    epochs = max(1, round(minutes * 60 / (ITERATIONS * _seconds_of_a_step())))
    trainer = _make_trainer()
    trainer.num_epochs = epochs
    start = time.perf_counter()
    trainer.run_training()
    trained = time.perf_counter()
    trainer.perform_actual_validation()
    return {
        "minutes": (trained - start) / 60,
        "steps": epochs * ITERATIONS,
        "parameters_million": sum(parameter.numel() for parameter in trainer.network.parameters()) / 1e6,
        "case_seconds": time.perf_counter() - trained,
    }


def _seconds_of_a_step() -> float:
    trainer = _make_trainer()
    trainer.on_train_start()
    trainer.train_step(next(trainer.dataloader_train))
    start = time.perf_counter()
    for _ in range(PROBE):
        trainer.train_step(next(trainer.dataloader_train))
    return (time.perf_counter() - start) / PROBE


def _make_trainer() -> Any:
    from nnunetv2.run.run_training import get_trainer_from_args

    trainer = get_trainer_from_args(DATASET, "3d_fullres", 0, plans_identifier=PLANS, device=torch.device("cpu"))
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = ITERATIONS, 1
    return trainer


def score(cases: Sequence[Item], folder: Path) -> None:
    """Writes `evaluated/per_case.csv` with the metrics that `evaluating` computes, by the same rules."""
    rows = []
    to_regions = ToRegions(et_label=ENHANCING)
    for item in cases:
        [found] = (folder / "results" / DATASET).glob(f"*/fold_0/validation/{item['case']}.nii.gz")
        truth = read_truth(item)
        image = nib.nifti1.load(found)
        metrics = case_metrics(
            to_regions(torch.as_tensor(np.asarray(image.dataobj, dtype=np.uint8))[None]),
            to_regions(torch.as_tensor(truth)[None]),
            spacing=[float(size) for size in image.header.get_zooms()],
            metrics=["dice", "hd95"],
        )
        rows += [
            {"case": item["case"], "region": region} | {name: values[i] for name, values in metrics.items()}
            for i, region in enumerate(REGIONS)
        ]
    write_csv(folder / "evaluated" / "per_case.csv", rows)


if __name__ == "__main__":
    main()
