# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(BUNDLE))
# MONAI Label would load the bundle's modules anew for each request, and there would be two of each class
os.environ["MONAI_LABEL_RELOAD_APP_LIB"] = "false"

from fastapi import HTTPException  # noqa: E402
from monailabel.interfaces.app import MONAILabelApp  # noqa: E402
from monailabel.interfaces.exception import MONAILabelException  # noqa: E402
from monailabel.tasks.activelearning.random import Random  # noqa: E402

from scripts.base.allocator import reuse_freed_memory  # noqa: E402
from scripts.brats import NOT_FOR_DIAGNOSIS  # noqa: E402
from scripts.label_app.datastore import CaseDatastore, http_errors  # noqa: E402
from scripts.label_app.inference import ConfidenceTask, SegmentationTask  # noqa: E402
from scripts.label_app.review import router  # noqa: E402
from scripts.label_app.scoring import ByConfidence, CriticScoring  # noqa: E402
from scripts.label_app.training import FineTuning  # noqa: E402


class BratsReview(MONAILabelApp):
    """Review of BraTS cases, led by the critic; the conf `view`, one of `volumes.VIEWS`, is what clients see."""

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        self.bundle = conf.get("bundle", str(BUNDLE))
        reuse_freed_memory()
        super().__init__(app_dir, studies, conf, name="BraTS review", description=NOT_FOR_DIAGNOSIS)

    def on_init_complete(self) -> None:
        """Adds the page for reviewers to MONAI Label's own, where there is a server: tasks have none."""
        from monailabel.app import app

        app.include_router(router)
        super().on_init_complete()

    def init_datastore(self) -> CaseDatastore:
        """Shows the cases of the studies folder."""
        return CaseDatastore(self.studies, view=self.conf.get("view", "4d"))

    def init_infers(self) -> dict[str, Any]:
        """Offers segmentation alone, and with the critic's confidence."""
        confidence = ConfidenceTask(self.bundle, self.conf, datastore=self.datastore())
        return {"segmentation": SegmentationTask(self.bundle, self.conf), "confidence": confidence}

    def init_trainers(self) -> dict[str, Any]:
        """Offers fine-tuning."""
        return {"segmentation": FineTuning(self.bundle, self.conf)}

    def init_scoring_methods(self) -> dict[str, Any]:
        """Offers the critic's scores."""
        return {"critic": CriticScoring(self._infers["confidence"])}

    def init_strategies(self) -> dict[str, Any]:
        """Offers what to review next; the names are without spaces, for MONAI Label's client garbles those."""
        return {"least_confident": ByConfidence(), "most_confident": ByConfidence(most=True), "random": Random()}

    def infer(self, request: dict[str, Any], datastore: CaseDatastore | None = None) -> dict[str, Any]:
        """Segments a case of the datastore, or an uploaded 4D file; saves the label where the request asks for it."""
        image = str(request.get("image"))
        asked = request | {"save_label": False}
        case = None if _is_upload(image) else self.datastore().item(image)
        if case:
            asked |= {name: case[name] for name in ("case", "layout", "image")}
        with _known_name(), http_errors():
            result = super().infer(asked, datastore)
        if case and request.get("save_label"):
            tag = request.get("label_tag", "original")
            self.datastore().save_label(case["case"], result["file"], tag, {"params": result["params"]})
        return result

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Picks the case to review next, by the strategy of a request."""
        with _known_name():
            return super().next_sample(request)

    def async_scoring(self, method: str | None, params: dict[str, Any] | None = None) -> Any:
        """Scores in the background, in a process of its own, where there is anything to score."""
        return super().async_scoring(method, params) if self._scoring_methods["critic"].pending(self._datastore) else {}


@contextmanager
def _known_name() -> Iterator[None]:
    try:
        yield
    except MONAILabelException as error:  # of a model or strategy that is not there
        raise HTTPException(404, error.msg) from error


def _is_upload(image: str) -> bool:
    # the server keeps what a client sends in the system's folder for that; no other path is opened for a client
    return Path(image).is_file() and Path(image).resolve().parent == Path(tempfile.gettempdir()).resolve()
