# SPDX-License-Identifier: Apache-2.0
"""The app, as MONAI Label finds it in its server and in the processes that score and train."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(BUNDLE))
# MONAI Label would load the bundle's modules again for each request, and there would be two of each class
os.environ["MONAI_LABEL_RELOAD_APP_LIB"] = "false"

from fastapi import HTTPException  # noqa: E402
from monai.utils import str2bool  # noqa: E402
from monailabel.interfaces.app import MONAILabelApp  # noqa: E402
from monailabel.interfaces.exception import MONAILabelException  # noqa: E402
from monailabel.tasks.activelearning.random import Random  # noqa: E402

from scripts.brats import NOT_FOR_DIAGNOSIS  # noqa: E402
from scripts.label_app.confidence import LEADS  # noqa: E402
from scripts.label_app.datastore import CaseDatastore, http_errors  # noqa: E402
from scripts.label_app.inference import ConfidenceTask, SegmentationTask  # noqa: E402
from scripts.label_app.memory import give_back_memory  # noqa: E402
from scripts.label_app.scoring import ByExpectedDice, ExpectedDiceScoring  # noqa: E402
from scripts.label_app.training import FineTuning  # noqa: E402

GIGABYTE = 2**30


class BratsReview(MONAILabelApp):
    """Review of BraTS cases, the one with the lowest expected Dice first.

    Its conf: `view`, one of `volumes.VIEWS`, is what clients see of an image; `bundle` is another bundle's folder;
    `cache_gb` limits the files that are made for clients; with `allow_missing` a case may lack one or two modalities.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.bundle = conf.get("bundle", str(BUNDLE))
        self.one_at_a_time = threading.Lock()
        super().__init__(app_dir, studies, conf, name="BraTS review", description=NOT_FOR_DIAGNOSIS)

    def init_datastore(self) -> CaseDatastore:
        """Shows the cases of the studies folder."""
        cache = int(float(self.conf.get("cache_gb", 2)) * GIGABYTE)
        allow_missing = str2bool(str(self.conf.get("allow_missing", False)))
        view = self.conf.get("view", "4d")
        return CaseDatastore(self.studies, view=view, cache_bytes=cache, allow_missing=allow_missing)

    def init_infers(self) -> dict[str, Any]:
        """Offers segmentation alone, and with what is known of its reliability."""
        confidence = ConfidenceTask(self.bundle, self.conf, datastore=self.datastore())
        return {"segmentation": SegmentationTask(self.bundle, self.conf), "confidence": confidence}

    def init_trainers(self) -> dict[str, Any]:
        """Offers fine-tuning."""
        return {"segmentation": FineTuning(self.bundle, self.conf)}

    def init_scoring_methods(self) -> dict[str, Any]:
        """Offers segmentation of all cases in the background."""
        return {LEADS: ExpectedDiceScoring(self._infers["confidence"])}

    def init_strategies(self) -> dict[str, Any]:
        """Offers what to review next; the names are without spaces, for MONAI Label's client garbles those."""
        scoring = ExpectedDiceScoring(self._infers["confidence"])
        return {
            "lowest_expected_dice": ByExpectedDice(scoring),
            "highest_expected_dice": ByExpectedDice(scoring, highest=True),
            "random": Random(),
        }

    def infer(self, request: dict[str, Any], datastore: CaseDatastore | None = None) -> dict[str, Any]:
        """Segments a case of the datastore, or an uploaded 4D file, one after the other.

        A label is never saved for a request: what the machine made of a case is kept apart from what people save.
        """
        image = str(request.get("image"))
        asked = request | {"save_label": False}
        case = None if _is_upload(image) else self.datastore().item(image)
        if case:
            asked |= {name: case[name] for name in ("case", "layout", "image", "missing") if name in case}
        with self.one_at_a_time, _known_name(), http_errors():
            try:
                return super().infer(asked, datastore)
            finally:
                give_back_memory()

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Picks the case to review next, by the strategy of a request; its file is made when a client asks for it."""
        strategy = self._strategies.get(request.get("strategy", ""))
        if strategy is None:
            raise HTTPException(
                404, f"no strategy {request.get('strategy')}; allowed are {', '.join(self._strategies)}"
            )
        if self._auto_update_scoring:
            self.async_scoring(None)
        return strategy(request, self.datastore()) or {}

    def async_scoring(self, method: str | None, params: dict[str, Any] | None = None) -> Any:
        """Scores in the background, in a process of its own, where there is anything to score."""
        from monailabel.utils.async_tasks.utils import tasks

        running = any(task["status"] in ("SUBMITTED", "RUNNING") for task in tasks("scoring"))
        pending = self._scoring_methods[LEADS].pending(self._datastore)
        return super().async_scoring(method, params) if pending and not running else {}


@contextmanager
def _known_name() -> Iterator[None]:
    try:
        yield
    except MONAILabelException as error:  # of a model or strategy that is not there
        raise HTTPException(404, error.msg) from error


def _is_upload(image: str) -> bool:
    # the server keeps what a client sends in its folder for that; no other path is opened for a client
    return Path(image).is_file() and Path(image).resolve().parent == Path(tempfile.gettempdir()).resolve()
