# SPDX-License-Identifier: Apache-2.0
"""What a working resolution allows: the Dice of the truth itself, brought there and back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from monai.metrics import compute_dice
from monai.transforms import Compose, ConvertToMultiChannelBasedOnBratsClassesd, LoadImaged, Spacing
from tqdm import tqdm

from scripts.base.errors import BundleError, report_bundle_errors
from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS, Item
from scripts.data.cohort import Cohort
from scripts.data.transforms import BratsLabeld


def main() -> None:
    """Command line: prints the best Dice that each working resolution allows, mean over all cases of a data list."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.resolution", description=__doc__)
    parser.add_argument("datalist", help="data list; all of its cases with truth are taken")
    parser.add_argument("--spacings", type=float, nargs="+", default=[2.5, 2.0, 1.75, 1.6, 1.5, 1.25], help="mm")
    parser.add_argument("--cache_dir", default="output/cache", help="what is known of the cases' soundness")
    args = parser.parse_args()
    if not Path(args.datalist).is_file():
        raise BundleError(f"{args.datalist}: no such file; write one with `python -m scripts.data.split`.")
    for spacing in args.spacings:
        if not 0.1 <= spacing <= 10:
            raise BundleError(f"--spacings: {spacing} mm; allowed: 0.1 to 10 mm.")
    cohort = Cohort(".", datalist=args.datalist, cache_dir=args.cache_dir)
    items = cohort.training_cases() + cohort.held_out_cases()
    dice = np.array([best_dice(item, args.spacings) for item in tqdm(items, desc="cases", unit="case")])
    print(f"{len(items)} cases\n| working resolution, mm | {' | '.join(REGIONS)} |\n{'|---' * 4}|")
    for spacing, regions in zip(args.spacings, np.nanmean(dice, axis=0)):
        print(f"| {spacing:g} | {' | '.join(f'{value:.3f}' for value in regions)} |")
    print(NOT_FOR_DIAGNOSIS)


def best_dice(item: Item, spacings: Sequence[float]) -> np.ndarray:
    """Returns the Dice of a case whose segmentation is right in every voxel of a working resolution.

    The true regions are brought to it as the targets of a training are, and back as a segmentation is.

    Returns:
        (spacings, 3) in the order of `REGIONS`; NaN where the truth has no such region.
    """
    read = Compose(
        [
            LoadImaged("label", ensure_channel_first=True),
            BratsLabeld("label"),
            ConvertToMultiChannelBasedOnBratsClassesd("label", et_label=4),
        ]
    )
    truth = read(item)["label"].float()
    found = []
    for spacing in spacings:
        resample = Spacing((spacing,) * 3, mode="bilinear")
        target = (resample(truth) > 0.5).float()
        found.append(compute_dice(resample.inverse(target)[None] > 0.5, truth[None] > 0.5)[0])
    return torch.stack(found).numpy()


if __name__ == "__main__":
    main()
