# SPDX-License-Identifier: Apache-2.0
"""Compares the page with the commands on cases: `python -m tests.browser.agreement FOLDER...`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from scripts.base.errors import BundleError
from scripts.brats import REGIONS
from scripts.browser.packages import ARCHIVES, fetch_packages
from scripts.browser.site import build_site, write_site
from tests.browser.served import serve
from tests.browser.test_page import PATIENCE, PLAIN, download, infer, segment
from tests.conftest import CHROMIUM, FLAGS
from tests.outputs import label_dice
from tests.test_workflows import BUNDLE, INFERENCE

LAYOUTS: dict[str, dict[str, str]] = {"channels_last": {}, "plain": PLAIN}


def main(folders: list[str]) -> None:
    """Prints a row of the table for each folder of a case, and what the page says of its times."""
    if CHROMIUM is None:
        raise BundleError("no chromium on PATH; install one")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        root = Path(place)
        fetch_packages(ARCHIVES)
        files = build_site(ARCHIVES, config_file=BUNDLE / INFERENCE, ckpt_dir=str(BUNDLE / "models"))
        write_site(root / "page", files)
        with serve(root) as (address, _):
            page = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS).new_page()
            page.goto(f"{address}/page/")
            page.wait_for_selector("html[data-page=ready]", timeout=PATIENCE)
            for number, folder in enumerate(map(Path, folders), start=1):
                (root / str(number)).mkdir()
                (root / str(number) / folder.name).symlink_to(folder.resolve())
                print(f"| {number} | {compare(page, root / str(number), folder)} |", flush=True)


def compare(page: Any, dataset: Path, case: Path) -> str:
    """Segments a case in the page and by the commands, these also with PyTorch's plain order of voxels in memory.

    Returns:
        For each of the two: voxels that differ, the Dice of each label, and the share of voxels within the brain's box
        whose confidence differs by more than 0.01; then what the page says of its times.
    """
    segment(page, sorted(case.iterdir()), case.name)
    said = page.inner_text("#times").removeprefix("Computed in ").rstrip(".")
    found = read(download(page, "#save-labels", dataset))
    certain = []
    for region in REGIONS:
        page.select_option("#region", region)
        certain.append(read(download(page, "#save-confidence", dataset)))
    cells = [" x ".join(map(str, found.shape))]
    for name, settings in LAYOUTS.items():
        expected = infer(dataset, dataset / name, **settings)
        wanted = read(expected / f"{case.name}_seg.nii.gz")
        confidence = np.moveaxis(read(expected / f"{case.name}_confidence.nii.gz"), -1, 0)
        dice = " / ".join(f"{label_dice(found == value, wanted == value):.4f}" for value in (1, 2, 4))
        doubtful = (confidence < 1).any(axis=0)
        off = (np.abs(np.stack(certain) - confidence) > 0.0101).any(axis=0).sum() / doubtful.sum()
        cells += [f"{(found != wanted).sum()} of {(wanted > 0).sum()}", dice, f"{off:.3%}"]
    return " | ".join([*cells, said])


def read(path: Path) -> np.ndarray:
    return nib.Nifti1Image.from_filename(path).get_fdata()


if __name__ == "__main__":
    main(sys.argv[1:])
