# SPDX-License-Identifier: Apache-2.0
"""Handler that scores the critic's uncertainty, and the segmenter's entropy, against the truth during an evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from ignite import distributed as idist
from ignite.engine import Events
from monai.config import PathLike
from monai.data import MetaTensor
from monai.engines import Evaluator

from scripts.base.distributed import gather_from_processes
from scripts.base.results import is_result
from scripts.base.text_files import write_csv, write_json
from scripts.brats import NOT_FOR_DIAGNOSIS
from scripts.evaluation.reliability.scores import Row, score_case
from scripts.evaluation.reliability.summary import summarise

FILES = ("reliability.csv", "reliability.json")


class ReliabilityHandler:
    """Handler of a MONAI evaluator: does the critic know where a segmentation is wrong, and better than the entropy?

    It scores every case and region (`score_case`) and, when the evaluator completes, writes `reliability.csv` with a
    row for each of them and `reliability.json` with their summary (`summarise`), and prints the verdict.

    The evaluator's output must contain `regions`, `label`, `probabilities` and `confidence`, each (3, H, W, D), and
    its batch `case`. Cases that lack one are skipped; if all do, the handler says so and writes no file.

    Args:
        output_dir: folder of the files.
    """

    def __init__(self, output_dir: PathLike) -> None:
        self.folder = Path(output_dir)
        self._rows: list[Row] = []

    def results_of(self, cases: Sequence[str]) -> list[Path]:
        """Returns the paths of the files."""
        return [self.folder / name for name in FILES]

    def attach(self, engine: Evaluator) -> None:
        """Registers the handler on an evaluator."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._rows.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Evaluator) -> None:
        """Writes the files and prints the verdict."""
        rows = gather_from_processes(self._rows)
        if idist.get_rank() != 0:
            return
        table, record = (self.folder / name for name in FILES)
        if not rows:
            for file in filter(is_result, (table, record)):  # of an earlier run
                file.unlink()
            print("reliability of the critic: left out, because there is no confidence (--confidence true) or no truth")
            return
        summary = summarise(rows)
        write_csv(table, [{k: v for k, v in row.items() if k != "calibration_critic"} for row in rows])
        write_json(record, summary)
        print("\n".join([*summary["verdict"], NOT_FOR_DIAGNOSIS, str(record)]))

    def _score(self, engine: Evaluator) -> None:
        for item, output in zip(engine.state.batch, engine.state.output):
            names = ("regions", "label", "probabilities", "confidence")
            if all(output.get(name) is not None for name in names):
                label = output["label"]
                spacing = label.pixdim.tolist() if isinstance(label, MetaTensor) else (1.0, 1.0, 1.0)
                volumes = (_to_numpy(output[name]) for name in names)
                self._rows += [{"case": str(item["case"])} | row for row in score_case(*volumes, spacing=spacing)]


def _to_numpy(volume: torch.Tensor) -> np.ndarray:
    return torch.as_tensor(volume).as_subclass(torch.Tensor).float().cpu().numpy()
