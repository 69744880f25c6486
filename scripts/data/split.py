# SPDX-License-Identifier: Apache-2.0
"""Command that checks and splits a data set and writes its data list: `python -m scripts.data.split`."""

from __future__ import annotations

import argparse
from collections import Counter

from monai.utils import str2bool

from scripts.base.errors import report_bundle_errors
from scripts.base.results import refuse_replacing
from scripts.data.cohort import Cohort
from scripts.data.datalist import write_datalist


def main() -> None:
    """Command line: checks and splits a data set and writes its data list."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.data.split", description="Checks and splits BraTS cases.")
    parser.add_argument("dataset_dir", nargs="+", help="folder of the cases, of any BraTS layout; with --names several")
    parser.add_argument("--output", required=True, help="data list (JSON) to write")
    parser.add_argument("--held_out_fraction", type=float, default=0.2, help="fraction of patients held out (0.2)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split (0)")
    parser.add_argument("--skip_invalid", nargs="?", const=True, type=str2bool, help="leave broken cases out")
    parser.add_argument("--patient_pattern", help="regular expression that finds the patient in the id of a case")
    parser.add_argument("--names", help="split by the names in this JSON, such as docs/split.json, not by the seed")
    options = vars(parser.parse_args())
    output, folders = options.pop("output"), options.pop("dataset_dir")
    if options["names"] is None and len(folders) > 1:
        parser.error("several folders need --names; without it, give the folder above them")
    refuse_replacing(output)
    cohort = Cohort(folders if options["names"] else folders[0], **options)
    training, held_out = cohort.training_cases(), cohort.held_out_cases()
    write_datalist(output, training, held_out)
    layouts = Counter(item["layout"] for item in training + held_out)
    counts = ", ".join(f"{layout} {layouts[layout]}" for layout in sorted(layouts))
    patients = {item["patient"] for item in training + held_out}
    print(f"{len(training + held_out)} cases of {len(patients)} patients: {counts}")
    print(f"training {len(training)}, held out {len(held_out)}, left out {len(cohort.problems)}")
    print(f"written to {output}")


if __name__ == "__main__":
    main()
