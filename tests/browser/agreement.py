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
from scripts.browser.runtime import ARCHIVES, fetch_archive
from scripts.browser.site import build_site, write_site
from tests.browser.served import serve
from tests.browser.test_page import PATIENCE, download, infer, segment
from tests.conftest import CHROMIUM, FLAGS
from tests.outputs import label_dice
from tests.test_workflows import BUNDLE, INFERENCE


def main(folders: list[str]) -> None:
    """Prints a row of the table for each folder of a case, and what the page says of its times."""
    if CHROMIUM is None:
        raise BundleError("no chromium on PATH; install one")
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        root = Path(place)
        files = build_site(fetch_archive(ARCHIVES), config_file=BUNDLE / INFERENCE, ckpt_dir=str(BUNDLE / "models"))
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
    """Segments a case both ways; returns voxels that differ, Dice of each label, and the confidence's differences."""
    segment(page, sorted(case.iterdir()), case.name)
    said = page.inner_text("#times").removeprefix("Computed in ")
    expected = infer(dataset, dataset / "expected")
    found, wanted = (
        np.asarray(nib.Nifti1Image.from_filename(path).dataobj)
        for path in (download(page, "#save-labels", dataset), expected / f"{case.name}_seg.nii.gz")
    )
    dice = " | ".join(f"{label_dice(found == value, wanted == value):.4f}" for value in (1, 2, 4))
    confidence = nib.Nifti1Image.from_filename(expected / f"{case.name}_confidence.nii.gz").get_fdata()
    off = 0.0
    for index, region in enumerate(REGIONS):
        page.select_option("#region", region)
        certain = nib.Nifti1Image.from_filename(download(page, "#save-confidence", dataset)).get_fdata()
        off = max(off, float(np.abs(certain - confidence[..., index]).max()))
    shape = " x ".join(map(str, wanted.shape))
    return f"{shape} | {(found != wanted).sum()} of {(wanted > 0).sum()} | {dice} | {off:.2f} | {said}"


if __name__ == "__main__":
    main(sys.argv[1:])
