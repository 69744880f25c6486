# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy

from scripts.base.errors import BundleError
from scripts.data.discovery import hash_item
from scripts.label_app.confidence import score
from scripts.label_app.datastore import CaseDatastore
from scripts.label_app.inference import ConfidenceTask, weights_stamp

logger = logging.getLogger(__name__)
SCORES = {"confidence": "mean_confidence", "entropy": "mean_entropy"}


class CriticScoring(ScoringMethod):
    """Writes the critic's confidence and the segmenter's entropy of every unreviewed case into the datastore.

    A case keeps its scores until weights or scans change. One that cannot be segmented gets its `fault` instead.

    Args:
        task: that segments and judges.
    """

    def __init__(self, task: ConfidenceTask) -> None:
        super().__init__("Critic's mean confidence and mean entropy around what was segmented")
        self.task = task

    def pending(self, datastore: CaseDatastore) -> list[str]:
        """Gives the cases whose scores are missing, or of other weights or scans."""
        cases = datastore.get_unlabeled_images()
        return [case for case in cases if datastore.get_image_info(case).get("scored") != self._stamp(datastore, case)]

    def __call__(self, request: dict[str, Any], datastore: CaseDatastore) -> dict[str, Any]:
        """Scores the pending cases, and gives the number of them and of those that failed."""
        pending, failed = self.pending(datastore), 0
        for done, case in enumerate(pending):
            logger.info("%d of %d scored", done, len(pending))
            info: dict[str, Any] = {"scored": self._stamp(datastore, case), "fault": None} | dict.fromkeys(SCORES)
            try:
                item = datastore.item(case)
                asked = {name: item[name] for name in ("case", "layout", "image")}
                _, metrics = self.task(request | asked | {"result_write_to_file": False})
                info |= {name: score(metrics, metric) for name, metric in SCORES.items()}
            except (BundleError, HTTPException) as error:
                info["fault"], failed = str(error), failed + 1
                logger.warning("%s cannot be scored: %s", case, error)
            datastore.update_image_info(case, info)
        return {"scored": len(pending) - failed, "failed": failed}

    def _stamp(self, datastore: CaseDatastore, case: str) -> str:
        return f"{weights_stamp(self.task.bundle_path)}-{hash_item(datastore.item(case)).decode()}"


class ByConfidence(Strategy):
    """Picks the unreviewed case whose segmentation the critic trusts least, or most.

    One without a score comes last, one that cannot be segmented never.

    Args:
        most: whether the most trusted one is picked.
    """

    def __init__(self, *, most: bool = False) -> None:
        super().__init__(f"The case that the critic trusts {'most' if most else 'least'}")
        self.most = most

    def __call__(self, request: dict[str, Any], datastore: CaseDatastore) -> dict[str, Any] | None:
        """Gives the id and the confidence of the case, None where none is left."""
        cases = {case: datastore.get_image_info(case) for case in datastore.get_unlabeled_images()}
        known = {case: info for case, info in cases.items() if not info.get("fault")}
        if not known:
            return None
        sign = -1 if self.most else 1

        def rank(case: str) -> tuple[bool, float]:
            confidence = known[case].get("confidence")
            return confidence is None, sign * (confidence or 0.0)

        case = min(known, key=rank)
        return {"id": case, "confidence": known[case].get("confidence")}
