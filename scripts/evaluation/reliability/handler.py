# SPDX-License-Identifier: Apache-2.0
"""Handler that scores the critic's uncertainty, and the segmenter's entropy, against the truth during an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite import distributed as idist
from ignite.engine import Events
from monai.config import PathLike
from monai.data import MetaTensor
from monai.engines import Evaluator

from scripts.base.distributed import gather_from_processes
from scripts.base.results import is_result, write_result
from scripts.base.text_files import write_csv, write_json
from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS
from scripts.evaluation.reliability.expected_dice import EXPECTED, expected_of_case
from scripts.evaluation.reliability.plots import draw_reliability
from scripts.evaluation.reliability.scores import Row, score_case
from scripts.evaluation.reliability.summary import summarise

UNKNOWN = (math.nan,) * len(REGIONS)
FILES = ("reliability.csv", "reliability.json", "reliability.png")


class ReliabilityHandler:
    """Handler of a MONAI evaluator: does the critic know where a segmentation is wrong, and better than the entropy?

    It scores every case and region (`score_case`) and, when the evaluator completes, writes `reliability.csv` with a
    row for each of them, `reliability.json` with their summary (`summarise`) and `reliability.png`, and prints the
    verdict. What is expected of a case (`expected_of_case`) needs no truth, and becomes metrics of the report.

    The evaluator's output must contain `regions`, `label`, `probabilities` and `confidence`, each (3, H, W, D), and
    `islands` (of `scripts.inference.ListIslandsd`), and its batch `case`. Cases that lack one are skipped; if all do,
    the handler says so and writes no file.

    Args:
        output_dir: folder of the files.
    """

    def __init__(self, output_dir: PathLike) -> None:
        self.folder = Path(output_dir)
        self._rows: list[Row] = []
        self._islands: list[dict[str, Any]] = []
        self._expected: list[dict[str, list[float]]] = []

    def results_of(self, cases: Sequence[str]) -> list[Path]:
        """Returns the paths of the files."""
        return [self.folder / name for name in FILES]

    def attach(self, engine: Evaluator) -> None:
        """Registers the handler on an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Evaluator) -> None:
        """Adds the metrics to the engine's state, writes the files and prints the verdict."""
        rows, expected = gather_from_processes(self._rows), gather_from_processes(self._expected)
        islands = gather_from_processes(self._islands)
        if any(expected):
            state: Any = engine.state
            state.metric_details |= {name: np.array([e.get(name, UNKNOWN) for e in expected]) for name in EXPECTED}
        if idist.get_rank() != 0:
            return
        table, record, picture = (self.folder / name for name in FILES)
        if not rows:
            for file in filter(is_result, (table, record, picture)):  # of an earlier run
                file.unlink()
            print("reliability of the critic: left out, because there is no confidence (--confidence true) or no truth")
            return
        summary = summarise(rows, islands)
        write_csv(table, [{k: v for k, v in row.items() if not k.endswith("_calibration")} for row in rows])
        write_json(record, summary)
        write_result(picture, draw_reliability(summary, rows))
        print("\n".join([*summary["verdict"], NOT_FOR_DIAGNOSIS, str(record)]))

    def _clear(self) -> None:
        self._rows.clear()
        self._islands.clear()
        self._expected.clear()

    def _score(self, engine: Evaluator) -> None:
        for item, output in zip(engine.state.batch, engine.state.output):
            regions = output["regions"]
            spacing = regions.pixdim.tolist() if isinstance(regions, MetaTensor) else (1.0, 1.0, 1.0)
            names = ("regions", "label", "probabilities", "confidence")
            volumes = {name: _to_numpy(output[name]) for name in names if output.get(name) is not None}
            known = "confidence" in volumes
            self._expected.append(
                expected_of_case(volumes["regions"], volumes["confidence"], spacing=spacing) if known else {}
            )
            if len(volumes) == len(names):
                scores = score_case(*(volumes[name] for name in names), spacing=spacing)
                self._rows += [{"case": str(item["case"])} | row for row in scores]
                self._islands += output["islands"]


def _to_numpy(volume: torch.Tensor) -> np.ndarray:
    return torch.as_tensor(volume).as_subclass(torch.Tensor).float().cpu().numpy()
