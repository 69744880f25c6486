# SPDX-License-Identifier: Apache-2.0
"""Command line of the experiment: `python -m scripts.tools.peers`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from scripts.base.errors import BundleError, report_bundle_errors
from scripts.base.marked_page import check_mark, write_below
from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS
from scripts.tools.bundle_command import run_module
from scripts.tools.paired import by_patient, by_region, difference, read_column
from scripts.tools.peers.contenders import CONTENDERS

MARK = "<!-- what follows is written by `python -m scripts.tools.peers --page` -->"
NNUNET = "nnU-Net v2 (its own plan at 2 mm)"


def main() -> None:
    """Trains what is not trained yet, and writes a table of all."""
    report_bundle_errors()
    names = [*CONTENDERS, NNUNET]
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.peers", description=__doc__)
    parser.add_argument("datalist", help="data list: `training` is trained on, `validation` evaluated at the end")
    parser.add_argument("--minutes", type=float, default=30, help="of each training, on one core (30)")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time (1)")
    parser.add_argument(
        "--only", nargs="+", type=int, default=range(len(names)), metavar="I", help="of the table (all)"
    )
    parser.add_argument("--output_dir", default="output/peers", help="another call continues there")
    parser.add_argument("--page", help="Markdown whose part after the mark is replaced by the table")
    args = parser.parse_args()
    if args.page:
        check_mark(args.page, MARK)
    if args.jobs < 1 or args.minutes <= 0 or not set(args.only) <= set(range(len(names))):
        raise BundleError(
            f"--jobs {args.jobs}, --minutes {args.minutes}, --only {list(args.only)}; allowed: --jobs from 1 on, "
            f"--minutes above 0, --only of 0 to {len(names) - 1}"
        )
    datalist = Path(args.datalist).resolve()
    if not datalist.is_file():
        raise BundleError(f"{datalist}: no such file; write one with `python -m scripts.data.split`.")
    chosen = {names[i]: Path(args.output_dir).resolve() / f"contender{i}_{args.minutes:g}min" for i in args.only}
    waiting = {name: folder for name, folder in chosen.items() if not (folder / "cost.json").exists()}
    if NNUNET in waiting and not find_spec("nnunetv2"):
        raise BundleError("nnU-Net is not installed: pip install -r requirements-peers.txt, or leave it out by --only")

    def run(name: str) -> None:
        if name == NNUNET:
            run_nnunet(datalist, waiting[name], minutes=args.minutes)
        else:
            CONTENDERS[name].run(datalist, waiting[name], minutes=args.minutes)

    with ThreadPoolExecutor(args.jobs) as pool:
        for _ in tqdm(pool.map(run, waiting), total=len(waiting), desc="trainings", unit="training"):
            pass
    text = f"{compare(chosen)}\n{NOT_FOR_DIAGNOSIS}\n"
    print(text)
    if args.page:
        write_below(args.page, MARK, text)


def run_nnunet(datalist: Path, folder: Path, *, minutes: float) -> None:
    """Runs `scripts.tools.peers.nnunet` on one core.

    Raises:
        BundleError: if it fails, with its last line and where its log is.
    """
    arguments = [str(datalist), str(folder), "--minutes", f"{minutes}"]
    run_module("scripts.tools.peers.nnunet", arguments, name="nnU-Net", log=folder / "nnunet.log", threads=1)


def compare(folders: Mapping[str, Path]) -> str:
    """Returns a Markdown table: what each training cost and reached, and its difference from the first in mean Dice."""
    costs = "parameters, million | training, minutes | steps | network, s a case"
    results = f"Dice {', '.join(REGIONS)} | HD95, mm | mean Dice | minus the first (95 %)"
    lines = [f"| | {costs} | {results} |", f"|{'---|' * 9}"]
    tables = {
        name: {metric: read_column(folder / "evaluated" / "per_case.csv", metric) for metric in ("dice", "hd95")}
        for name, folder in folders.items()
    }
    dice = {name: by_patient([table["dice"]]) for name, table in tables.items()}
    first = next(iter(folders))
    for name, folder in folders.items():
        cost: dict[str, Any] = json.loads((folder / "cost.json").read_text())
        cells = [
            name,
            f"{cost['parameters_million']:.1f}",
            f"{cost['minutes']:.0f}",
            f"{cost['steps']:,}",
            f"{cost['case_seconds']:.1f}",
            by_region(tables[name]["dice"], digits=3),
            by_region(tables[name]["hd95"], digits=1),
            f"{np.mean(list(dice[name].values())):.3f}",
            "" if name == first else difference(dice[name], dice[first]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"{len(dice[first])} patients; intervals: bootstrap over them. One run each."])


if __name__ == "__main__":
    main()
