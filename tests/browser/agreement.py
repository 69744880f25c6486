# SPDX-License-Identifier: Apache-2.0
"""Compares the page with the commands on cases: `python -m tests.browser.agreement FOLDER...`."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from scipy import ndimage

from scripts.base.errors import BundleError
from scripts.brats import REGION_VALUES, REGIONS
from scripts.browser.packages import ARCHIVES, fetch_packages
from scripts.browser.site import build_site, write_site
from scripts.evaluation.metrics.calibration import NEIGHBOURHOOD
from tests.browser.served import serve
from tests.browser.test_page import PATIENCE, download, infer, segment
from tests.conftest import CHROMIUM, FLAGS
from tests.outputs import label_dice
from tests.test_workflows import BUNDLE, INFERENCE

# a host that is neither https nor this machine, on which browsers allow neither service workers nor threads
HOST = "page.test"


def main() -> None:
    """Prints a row of the table for each folder of a case, and what the page says of its times."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.agreement", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of one case each")
    parser.add_argument("--single", action="store_true", help="as from a host without https, where there is one thread")
    args = parser.parse_args()
    if CHROMIUM is None:
        raise BundleError("no chromium on PATH; install one")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        root = Path(place)
        fetch_packages(ARCHIVES)
        files = build_site(ARCHIVES, config_file=BUNDLE / INFERENCE, ckpt_dir=str(BUNDLE / "models"))
        write_site(root / "page", files)
        with serve(root) as (address, _):
            flags = [*FLAGS, f"--host-resolver-rules=MAP {HOST} 127.0.0.1"]
            page = playwright.chromium.launch(executable_path=CHROMIUM, args=flags).new_page()
            page.goto(f"{address.replace('127.0.0.1', HOST) if args.single else address}/page/")
            page.wait_for_selector("html[data-page=ready]", timeout=PATIENCE)
            for number, folder in enumerate(args.folders, start=1):
                (root / str(number)).mkdir()
                (root / str(number) / folder.name).symlink_to(folder.resolve())
                print(f"| {number} | {compare(page, root / str(number), folder)} |", flush=True)


def compare(page: Any, dataset: Path, case: Path) -> str:
    """Segments a case in the page and by the commands.

    Returns:
        Size of the case; voxels that differ; Dice of each label; share of the voxels within the brain's box whose
        confidence differs by more than 0.01; mean difference of the confidence within 10 mm of each region; seconds
        from the choice of the files to the overlay; what the page says of its times.
    """
    start = time.monotonic()
    segment(page, sorted(case.iterdir()), case.name)
    seconds = time.monotonic() - start
    said = page.inner_text("#times").removeprefix("Computed in ").rstrip(".")
    saved = download(page, "#save-labels", dataset)
    found, spacing = read(saved), nib.affines.voxel_sizes(nib.Nifti1Image.from_filename(saved).affine)
    certain = []
    for region in REGIONS:
        page.select_option("#region", region)
        certain.append(read(download(page, "#save-confidence", dataset)))
    expected = infer(dataset, dataset / "expected")
    wanted = read(expected / f"{case.name}_seg.nii.gz")
    confidence = np.moveaxis(read(expected / f"{case.name}_confidence.nii.gz"), -1, 0)
    dice = " / ".join(f"{label_dice(found == value, wanted == value):.4f}" for value in (1, 2, 4))
    doubtful = (confidence < 1).any(axis=0)
    difference = np.abs(np.stack(certain) - confidence)
    off = (difference > 0.0101).any(axis=0).sum() / doubtful.sum()
    near = " / ".join(f"{mean:.5f}" for mean in means_near(difference, wanted, spacing))
    cells = [" x ".join(map(str, found.shape)), f"{(found != wanted).sum()} of {(wanted > 0).sum()}", dice]
    return " | ".join([*cells, f"{off:.3%}", near, f"{seconds:.1f} s", said])


def means_near(difference: np.ndarray, labels: np.ndarray, spacing: np.ndarray) -> list[float]:
    """Returns the mean of differences (regions, H, W, D) within 10 mm of each region that label maps have."""
    masks = [np.isin(labels, REGION_VALUES[region]) for region in REGIONS]
    near = [ndimage.distance_transform_edt(~mask, sampling=spacing) <= NEIGHBOURHOOD for mask in masks]
    return [float(values[mask].mean()) for values, mask in zip(difference, near)]


def read(path: Path) -> np.ndarray:
    return nib.Nifti1Image.from_filename(path).get_fdata()


if __name__ == "__main__":
    main()
