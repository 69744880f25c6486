# SPDX-License-Identifier: Apache-2.0
"""Handler that writes and prints the results of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ignite import distributed as idist
from ignite.engine import Events
from monai.config import NdarrayOrTensor as Array
from monai.config import PathLike
from monai.engines import Evaluator
from monai.utils import ensure_tuple

from scripts.base.distributed import gather_from_processes
from scripts.base.errors import BundleError
from scripts.base.results import write_result
from scripts.base.text_files import write_json
from scripts.brats import Item
from scripts.data.missing import what_is_missing
from scripts.evaluation.report.page import Plot, write_report
from scripts.evaluation.report.plots import CaseSlice, draw_box_plots, draw_slices, take_slice
from scripts.evaluation.report.sections import Section
from scripts.evaluation.report.summary import Summary, summarise, summary_markdown, summary_record
from scripts.evaluation.report.tables import checked, region_table, write_per_case
from scripts.evaluation.report.viewer import LEVELS, ViewerCase, choose_cases, pack_case
from scripts.evaluation.report.volumes import load_volumes

TABLES = ("per_case.csv", "summary.json", "summary.md")
PAGES = ("boxplots.png", "slices.png", "report.html")


class EvaluationReport:
    """Handler of a MONAI evaluator that prints a table of the regions and writes the report when the run completes.

    It reports the metrics of `engine.state.metric_details` that are listed in `report.tables.METRIC_FORMATS`, with or
    without the prefix `mean_`, and identifies cases by the `case` of the batch's items. It always writes
    `per_case.csv`, `summary.json` and `summary.md`, and with `html` also `boxplots.png`, `slices.png` and
    `report.html`, from the saved label maps.

    Args:
        output_dir: folder of the files, which also contains `<case>_seg.nii.gz`.
        title: line above the table, and title of the report.
        scoring_rules: name of the scoring rules of the metrics.
        html: whether to write the pictures and `report.html`.
        viewer_cases: number of cases, from the worst to the best, in the pictures and the viewer.
        confidence: whether to show the critic's confidence, where there is a map of it.
        checkpoints: paths of the weights, which the report names.
        sections: functions that return an additional section of the report, or None if they have none.
    """

    def __init__(
        self,
        output_dir: PathLike,
        title: str,
        *,
        scoring_rules: str = "brats2021",
        html: bool = False,
        viewer_cases: int = 3,
        confidence: bool = True,
        checkpoints: str | Sequence[str] = (),
        sections: Sequence[Callable[[], Section | None]] = (),
    ) -> None:
        if viewer_cases < 0:
            raise BundleError(
                f"viewer_cases: found {viewer_cases}; give 0 (no viewer), 3 (worst, median, best) or more."
            )
        self.output_dir = Path(output_dir)
        self.title = title
        self.scoring_rules = scoring_rules
        self.html = html
        self.viewer_cases = viewer_cases
        self.confidence = confidence
        self.checkpoints = checkpoints
        self.sections = sections
        self._cases: list[str] = []

    def results_of(self, cases: Sequence[str]) -> list[Path]:
        """Returns the paths of the files that may be written."""
        return [self.output_dir / name for name in (*TABLES, *(PAGES if self.html else ()))]

    def attach(self, engine: Evaluator) -> None:
        """Registers the handler on an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._cases.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Evaluator) -> None:
        """Writes the files and prints the table."""
        metrics = {name.removeprefix("mean_"): values for name, values in engine.state.metric_details.items()}
        # in the order of processes, in which the metrics gather their values
        cases = gather_from_processes(self._cases)
        if idist.get_rank() != 0:
            return
        known = engine.data_loader.dataset.data  # type: ignore[union-attr]
        missing = {str(item["case"]): what_is_missing(item["missing"]) for item in known if item.get("missing")}
        names = {"title": self.title, "scoring_rules": self.scoring_rules}
        summary = write_tables(self.output_dir, cases, metrics, missing=missing, **names)
        print(f"{self.title}\n{region_table(metrics)}\n{self.output_dir / 'per_case.csv'}")
        if self.html:
            items = {str(item["case"]): item for item in known}
            sections = [section for make in self.sections if (section := make()) is not None]
            facts = {"Weights": ", ".join(map(str, ensure_tuple(self.checkpoints)))} if self.checkpoints else {}
            path = write_pages(
                self.output_dir,
                [items[case] for case in cases],
                metrics,
                viewer_cases=self.viewer_cases,
                confidence=self.confidence,
                facts=facts,
                sections=sections,
                summary=summary,
                missing=missing,
                **names,
            )
            print(path)

    def _collect(self, engine: Evaluator) -> None:
        batch = engine.state.batch
        if not isinstance(batch, list) or not all("case" in item for item in batch):
            raise BundleError(
                "EvaluationReport: found items without 'case'; keep 'case', and set decollate=True in the evaluator."
            )
        self._cases += [str(item["case"]) for item in batch]


def write_tables(
    output_dir: PathLike,
    cases: Sequence[str],
    metrics: Mapping[str, Array],
    *,
    title: str,
    scoring_rules: str,
    missing: Mapping[str, str] | None = None,
) -> Summary:
    """Writes `per_case.csv`, `summary.json` and `summary.md`, and returns the summary.

    Args:
        output_dir: folder of the files.
        cases: ids of N cases.
        metrics: values (N, 3) of cases and regions by names of `report.tables.METRIC_FORMATS`.
        title: title of the summary.
        scoring_rules: name of the scoring rules of the metrics.
        missing: what a case lacked, in words, by the ids of such cases.

    Raises:
        BundleError: as `write_per_case` raises it.
    """
    folder, missing = Path(output_dir), missing or {}
    write_per_case(folder / "per_case.csv", cases, metrics, missing=missing)
    summary = summarise(metrics)
    record = summary_record(summary, title=title, scoring_rules=scoring_rules, cases=len(cases), missing=missing)
    write_json(folder / "summary.json", record)
    text = summary_markdown(metrics, summary, title=title, scoring_rules=scoring_rules, missing=missing)
    write_result(folder / "summary.md", text.encode())
    return summary


def write_pages(
    output_dir: PathLike,
    items: Sequence[Item],
    metrics: Mapping[str, Array],
    *,
    viewer_cases: int = 3,
    confidence: bool = True,
    **report: Any,
) -> Path:
    """Writes `boxplots.png`, `slices.png` and `report.html`, and returns the path of `report.html`.

    Volumes are read from their files one case at a time, so that memory holds only one.

    Args:
        output_dir: folder of the files, which also contains the label maps and confidence maps of the cases.
        items: the N cases, as `report.volumes.load_volumes` takes them.
        metrics: values (N, 3) of cases and regions by names of `report.tables.METRIC_FORMATS`.
        viewer_cases: number of cases to show.
        confidence: whether to show the confidence maps.
        report: further arguments of `report.page.write_report`.

    Raises:
        BundleError: if a label map is missing, or as `write_report` raises it.
    """
    folder = Path(output_dir)
    boxes = draw_box_plots(metrics)
    write_result(folder / "boxplots.png", boxes)
    plots = [Plot("Distribution over the cases, as Fig. 3 of the paper.", boxes)]
    slices, viewer = _show_cases(folder, items, metrics, viewer_cases, confidence=confidence)
    if slices:
        picture = draw_slices(slices)
        write_result(folder / "slices.png", picture)
        caption = (
            "The axial slice with the largest tumour of each case, as Fig. 4 of the paper. Confidence: mean of regions."
        )
        plots.append(Plot(caption, picture))
    path = folder / "report.html"
    cases = [str(item["case"]) for item in items]
    write_report(path, cases, metrics, plots=plots, viewer=viewer, **report)
    return path


def _show_cases(
    folder: Path, items: Sequence[Item], metrics: Mapping[str, Array], count: int, *, confidence: bool
) -> tuple[list[CaseSlice], list[ViewerCase]]:
    slices, viewer = [], []
    dice = checked(metrics).get("dice", np.full((len(items), 3), np.nan))
    for number, (index, reason) in enumerate(choose_cases(dice, count)):
        volumes = load_volumes(items[index], folder, levels=LEVELS, confidence=confidence)
        slices.append(take_slice(volumes, title=f"{reason}  ·  {volumes.case}"))
        viewer.append(pack_case(volumes, number=number, reason=reason, dice=list(dice[index])))
    return slices, viewer
