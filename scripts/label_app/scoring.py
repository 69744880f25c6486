# SPDX-License-Identifier: Apache-2.0
"""Segmentation of all cases in the background, and what to review next."""

from __future__ import annotations

import logging
import os
from typing import Any

from fastapi import HTTPException
from monailabel.interfaces.tasks.scoring import ScoringMethod
from monailabel.interfaces.tasks.strategy import Strategy

from scripts.base.errors import BundleError
from scripts.data.checks import check_case
from scripts.label_app.confidence import LEADS, score
from scripts.label_app.datastore import CaseDatastore
from scripts.label_app.inference import ConfidenceTask

logger = logging.getLogger(__name__)


class ExpectedDiceScoring(ScoringMethod):
    """Checks and segments every case that waits for a review, and keeps segmentation, uncertainty and expected Dice.

    A case keeps them until weights or scans change. One that is broken gets its `fault` instead.

    Args:
        task: segments and judges.
    """

    def __init__(self, task: ConfidenceTask) -> None:
        super().__init__("Segmentation of every case that waits for a review, and its expected Dice")
        self.task = task

    def pending(self, datastore: CaseDatastore) -> list[str]:
        """Returns the cases whose score is missing, or of other weights or scans."""
        return [case for case in datastore.get_unlabeled_images() if not self.is_scored(datastore, case)]

    def is_scored(self, datastore: CaseDatastore, case: str) -> bool:
        """Tells whether a case's score is of the weights and the scans as they now are."""
        return datastore.get_image_info(case).get("stamp") == self.task.stamp(case)

    def __call__(self, request: dict[str, Any], datastore: CaseDatastore) -> dict[str, Any]:
        """Scores the pending cases, and returns the number of them and of those that failed."""
        os.nice(2)  # whoever waits in front of the page comes first
        scored = failed = 0
        tried: set[str] = set()
        while cases := [case for case in self.pending(datastore) if case not in tried]:  # new cases may have come
            tried.add(cases[0])
            fault = self._score(cases[0], request, datastore)
            scored, failed = scored + (not fault), failed + bool(fault)
        return {"scored": scored, "failed": failed}

    def _score(self, case: str, request: dict[str, Any], datastore: CaseDatastore) -> str:
        item = datastore.item(case)
        info: dict[str, Any] = {"stamp": self.task.stamp(case), LEADS: None, "fault": ""}
        try:
            if fault := check_case(item):
                raise BundleError(fault)
            asked = {name: item[name] for name in ("case", "layout", "image")}
            _, metrics = self.task(request | asked | {"result_write_to_file": False})
            info[LEADS] = score(metrics)
        except (BundleError, HTTPException) as error:
            info["fault"] = error.detail if isinstance(error, HTTPException) else str(error)
            logger.warning("%s cannot be scored: %s", case, info["fault"])
        datastore.update_image_info(case, info)
        return str(info["fault"])


class ByExpectedDice(Strategy):
    """Picks the case with the lowest, or highest, expected Dice of those that wait for a review.

    Args:
        scoring: knows which scores are of the present weights and scans; a case with another comes last, a broken one
            never.
        highest: whether the highest is picked.
    """

    def __init__(self, scoring: ExpectedDiceScoring, *, highest: bool = False) -> None:
        super().__init__(f"The {'highest' if highest else 'lowest'} expected Dice of those that wait for a review")
        self.scoring, self.sign = scoring, -1 if highest else 1

    def __call__(self, request: dict[str, Any], datastore: CaseDatastore) -> dict[str, Any] | None:
        """Returns the id and the expected Dice of the case, None where none is left.

        A request may name the `last` case that was open, which then comes only if it is the only one.
        """
        known = {case: datastore.get_image_info(case) for case in datastore.get_unlabeled_images()}
        known = {case: info for case, info in known.items() if not info.get("fault")}
        if not known:
            return None

        def rank(case: str) -> tuple[bool, bool, float, str]:
            value = known[case].get(LEADS) if self.scoring.is_scored(datastore, case) else None
            return case == request.get("last"), value is None, self.sign * (value or 0.0), case

        case = min(known, key=rank)
        return {"id": case, LEADS: known[case].get(LEADS)}
