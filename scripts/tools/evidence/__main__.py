# SPDX-License-Identifier: Apache-2.0
"""Command line of the experiment: `python -m scripts.tools.evidence`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.base.errors import BundleError, report_bundle_errors
from scripts.base.marked_page import check_mark, write_below
from scripts.base.results import write_result
from scripts.brats import NOT_FOR_DIAGNOSIS
from scripts.data.cohort import Cohort
from scripts.tools.evidence.arms import ARMS, DROPPED, LEVERS, SMALL, VAT_FIRST, WITH_VAT
from scripts.tools.evidence.cells import Cell, make_cells, run_cells
from scripts.tools.evidence.comparison import compare
from scripts.tools.evidence.labels import ARMS as LABEL_ARMS
from scripts.tools.evidence.labels import make_label_cells
from scripts.tools.evidence.plots import draw_evidence

MARK = "<!-- what follows is written by `python -m scripts.tools.evidence --page` -->"


def main() -> None:
    """Runs the cells that are not done yet, and compares the arms."""
    report_bundle_errors()
    parser = argparse.ArgumentParser(prog="python -m scripts.tools.evidence", description=__doc__)
    parser.add_argument("--dataset_dir", default="data", help="labelled cases, of which the training's side is used")
    parser.add_argument("--datalist", help="data list whose `training` replaces them; its `validation` is never read")
    parser.add_argument(
        "--output_dir", default="output/evidence", help="of the cells and evidence.png; another call continues there"
    )
    parser.add_argument(
        "--labelled", nargs="*", type=int, default=[4, 8, 16], help="patients whose labels are used, in turn (4 8 16)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="(3)")
    parser.add_argument("--folds", type=int, default=3, help="(3)")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time, each on one core (1)")
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON, such as '{\"epochs\": 120}'")
    parser.add_argument("--page", help="Markdown whose part after the mark is replaced by the tables")
    args = parser.parse_args()
    for name in ("seeds", "jobs"):
        if getattr(args, name) < 1:
            raise BundleError(f"--{name} {getattr(args, name)}: allowed are 1 and more")
    if args.page:
        check_mark(args.page, MARK)
    output_dir = Path(args.output_dir).resolve()
    output_dir.mkdir(parents=True, exist_ok=True)
    cohort = Cohort(args.dataset_dir, datalist=args.datalist, cache_dir=str(output_dir / "cache"))
    cases = cohort.training_cases()
    runs: dict[str, Any] = {"output_dir": output_dir, "seeds": args.seeds, "folds": args.folds}
    parts = make_cells(cases, arms=ARMS, **runs)
    levers = make_cells(cases, arms=LEVERS, **runs)
    levers = [cell for cell in levers if cell.fold == 0 or cell.arm == DROPPED]
    labels = {n: make_label_cells(cases, labelled=n, **runs) for n in args.labelled}
    everything = [*parts, *levers, *(cell for cells in labels.values() for cell in cells)]
    run_cells([cell for cell in everything if not cell.is_done], SMALL | args.settings, jobs=args.jobs)
    with_all_labels = [cell for cell in parts if cell.fold == 0 and cell.arm in LABEL_ARMS]
    labels[with_all_labels[0].training_cases] = with_all_labels
    write_result(output_dir / "evidence.png", draw_evidence(parts, labels))
    tables = to_markdown(parts, levers, labels)
    print(tables)
    if args.page:
        write_below(args.page, MARK, tables)


def to_markdown(parts: Sequence[Cell], levers: Sequence[Cell], labels: Mapping[int, Sequence[Cell]]) -> str:
    """Returns the tables of all experiments in Markdown.

    Args:
        parts: cells of the first experiment.
        levers: of the second, which are compared with the cells of VAT among `parts`.
        labels: of the third, with so many labelled patients.
    """
    with_vat = [cell for cell in parts if cell.arm == WITH_VAT]
    experiments = {
        "What each part is worth": parts,
        "VAT against its controls": [cell for arm in VAT_FIRST for cell in parts if cell.arm == arm],
        "What each lever is worth": [cell for cell in (*with_vat, *levers) if cell.fold == 0],
        "What dropping modalities costs where none is missing": [
            *with_vat,
            *(cell for cell in levers if cell.arm == DROPPED),
        ],
        **{f"{labelled} labelled patients": cells for labelled, cells in labels.items()},
    }
    tables = "".join(f"### {title}\n\n{compare(cells)}\n" for title, cells in experiments.items())
    return f"{tables}{NOT_FOR_DIAGNOSIS}\n"


if __name__ == "__main__":
    main()
