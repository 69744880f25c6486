# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite import distributed as idist
from ignite.engine import Events
from monai.config import PathLike
from monai.data import MetaTensor
from monai.engines import Evaluator
from scipy import ndimage
from scipy.special import entr
from scipy.stats import spearmanr
from sklearn.metrics import average_precision_score, roc_auc_score

from scripts.base.atomic_files import write_atomically
from scripts.base.distributed import gather_from_processes
from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS
from scripts.evaluation.metrics.surfaces import bounding_box, surface

ZONES = {"boundary": 3.0, "neighbourhood": 10.0}  # mm
ZONE_TITLES = {
    "boundary": "within 3 mm of the prediction's surface",
    "neighbourhood": "within 10 mm of the predicted or true region",
}
UNCERTAINTIES = ("critic", "entropy")
Row = dict[str, Any]


class ReliabilityHandler:
    """Handler of a MONAI evaluator: does the critic know where a segmentation is wrong, and does it beat entropy?

    Of each case and region, `1 - confidence` and the entropy of the probability are held against the wrong voxels, in
    the zones of `ZONES`; over cases, their means against Dice. It needs `regions`, `label`, `probabilities` and
    `confidence` (3, H, W, D) in the evaluator's output and `case` in its batch, and says so where there is none.
    When the evaluator completes it writes `reliability.csv` (see `score_case`) and `reliability.json` (see `summarise`).

    Args:
        output_dir: folder of the files.
    """

    def __init__(self, output_dir: PathLike) -> None:
        self.folder = Path(output_dir)
        self._rows: list[Row] = []

    def attach(self, engine: Evaluator) -> None:
        """Registers the handler on the evaluator: scores each case, and summarises them at the end."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._rows.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._score)
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Evaluator) -> None:
        """Writes the files and prints the verdict."""
        rows = gather_from_processes(self._rows)
        if idist.get_rank() != 0:
            return
        if not rows:
            for name in ("reliability.csv", "reliability.json"):  # of a former run
                (self.folder / name).unlink(missing_ok=True)
            print("reliability of the critic: left out, there is no confidence (--confidence true) or no truth")
            return
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
        write_atomically(self.folder / "reliability.csv", text.getvalue().encode())
        summary = summarise(rows)
        write_atomically(self.folder / "reliability.json", json.dumps(summary, indent=1).encode())
        print("\n".join([*summary["verdict"], NOT_FOR_DIAGNOSIS, str(self.folder / "reliability.json")]))

    def _score(self, engine: Evaluator) -> None:
        for item, output in zip(engine.state.batch, engine.state.output):
            names = ("regions", "label", "probabilities", "confidence")
            if all(output.get(name) is not None for name in names):
                label = output["label"]
                spacing = label.pixdim.tolist() if isinstance(label, MetaTensor) else (1.0, 1.0, 1.0)
                maps = (_array(output[name]) for name in names)
                self._rows += [{"case": str(item["case"])} | row for row in score_case(*maps, spacing=spacing)]


def score_case(
    prediction: np.ndarray,
    truth: np.ndarray,
    probabilities: np.ndarray,
    confidence: np.ndarray,
    *,
    spacing: Sequence[float],
) -> list[Row]:
    """Scores how well each uncertainty measure finds the wrong voxels of a case, a row per region.

    Args:
        prediction: binary regions (3, H, W, D).
        truth: binary regions (3, H, W, D).
        probabilities: from which the prediction came (3, H, W, D).
        confidence: the critic's (3, H, W, D).
        spacing: of the voxels, in mm.

    Returns:
        Of each region its `dice`, the mean confidence and entropy within 10 mm of the prediction (where no
        truth is known, nothing else can be used), and of each zone the number of voxels, the share of wrong ones and, for each
        uncertainty measure, area under the ROC curve and average precision in finding them. The share is the average precision of
        chance. NaN: the region is absent, or no voxel of the zone is wrong, or none right, or nothing was predicted.
    """
    return [
        {"region": region} | _score_region(p > 0.5, t > 0.5, q, c, spacing)
        for region, p, t, q, c in zip(REGIONS, prediction, truth, probabilities, confidence)
    ]


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Means over cases and regions, Spearman's rank correlations with Dice over cases, and the verdict in words.

    Returns:
        `zones`: of each zone and region (and `all`), the means of `wrong_share`, `auroc_*` and `average_precision_*`,
        and of how many rows (`n`); `correlation`: of each region, Spearman's of Dice with the critic's mean
        confidence, and with the negative mean entropy, and of how many cases; `verdict`: lines; None for what cannot
        be computed.
    """
    zones: dict[str, Any] = {}
    for zone in ZONES:
        for region in (*REGIONS, "all"):
            of_region = [
                r for r in rows if region in (r["region"], "all") and not math.isnan(r[f"{zone}_auroc_critic"])
            ]
            names = ["wrong_share", *(f"{s}_{u}" for s in ("auroc", "average_precision") for u in UNCERTAINTIES)]
            means = {name: _mean([r[f"{zone}_{name}"] for r in of_region]) for name in names}
            zones.setdefault(zone, {})[region] = means | {"n": len(of_region)}
    correlation = {region: _correlation([r for r in rows if r["region"] == region]) for region in REGIONS}
    summary = {"cases": len(rows) // len(REGIONS), "zones": zones, "correlation": correlation}
    return {"note": NOT_FOR_DIAGNOSIS} | summary | {"verdict": _verdict(zones, correlation)}


def _score_region(p: np.ndarray, t: np.ndarray, q: np.ndarray, c: np.ndarray, spacing: Sequence[float]) -> Row:
    row: Row = {"dice": float(2 * (p & t).sum() / (p.sum() + t.sum())) if (p | t).any() else 1.0}
    reach = max(ZONES.values())
    box = bounding_box(p | t, [math.ceil(reach / size) for size in spacing])
    p, t, wrong = p[box], t[box], p[box] != t[box]
    uncertainty = {"critic": 1 - c[box], "entropy": entropy(q[box])}
    to_surface = distance_within(surface(p), spacing, reach=reach)
    around = p | (to_surface <= reach)
    zones = {
        "boundary": to_surface <= ZONES["boundary"],
        "neighbourhood": around | (distance_within(t, spacing, reach=reach) <= reach),
    }
    row |= {"mean_confidence": _mean_or_nan(1 - uncertainty["critic"][around])}
    row |= {"mean_entropy": _mean_or_nan(uncertainty["entropy"][around])}
    for zone, inside in zones.items():
        answer = wrong[inside]
        row |= {f"{zone}_voxels": int(answer.size), f"{zone}_wrong_share": _mean_or_nan(answer)}
        for name in UNCERTAINTIES:
            row |= {f"{zone}_{score}_{name}": v for score, v in _scores(answer, uncertainty[name][inside]).items()}
    return row


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Gives the entropy in nats of each voxel's probability of a region; what resampling overshot counts as certain."""
    likely = probabilities.clip(0, 1)
    return (entr(likely) + entr(1 - likely)).astype(np.float32)


def distance_within(mask: np.ndarray, spacing: Sequence[float], *, reach: float) -> np.ndarray:
    """Gives each voxel's distance in mm to the nearest voxel of a mask, and infinity beyond `reach`."""
    distance = np.full(mask.shape, np.inf, np.float32)
    margins = [math.ceil(reach / size) for size in spacing]
    labels, _ = ndimage.label(mask, np.ones((3, 3, 3)))
    # island by island: the box of them all is often the whole brain
    for island in ndimage.find_objects(labels):
        box = tuple(slice(max(s.start - m, 0), s.stop + m) for s, m in zip(island, margins))
        found = ndimage.distance_transform_edt(~mask[box], sampling=spacing)
        distance[box] = np.minimum(distance[box], np.where(found <= reach, found, np.inf))
    return distance


def _scores(wrong: np.ndarray, uncertainty: np.ndarray) -> dict[str, float]:
    if wrong.all() or not wrong.any():
        return {"auroc": math.nan, "average_precision": math.nan}
    return {
        "auroc": float(roc_auc_score(wrong, uncertainty)),
        "average_precision": float(average_precision_score(wrong, uncertainty)),
    }


def _correlation(rows: Sequence[Row]) -> dict[str, float | int | None]:
    known = [row for row in rows if not math.isnan(row["mean_confidence"])]
    dice = [row["dice"] for row in known]
    means = {"critic": [r["mean_confidence"] for r in known], "entropy": [-r["mean_entropy"] for r in known]}
    # fewer cases have no rank correlation that says anything, and equal values none at all
    usable = {name: len(known) > 2 and len(set(dice)) > 1 and len(set(v)) > 1 for name, v in means.items()}
    ranks = {name: float(spearmanr(v, dice).statistic) if usable[name] else None for name, v in means.items()}
    return {"n": len(known)} | ranks


def _verdict(zones: Mapping[str, Any], correlation: Mapping[str, Any]) -> list[str]:
    lines = []
    for zone, title in ZONE_TITLES.items():
        means = zones[zone]["all"]
        if means["n"] == 0:
            lines.append(f"{title}: no region has both wrong and right voxels, nothing to score")
            continue
        critic, entropy = means["auroc_critic"], means["auroc_entropy"]
        word = "better than" if critic > entropy else "worse than" if critic < entropy else "as well as"
        lines.append(
            f"{title}, the critic finds wrong voxels {word} the entropy: AUROC {critic:.3f} against {entropy:.3f} "
            f"(0.5 is chance; mean over N = {means['n']} cases and regions)"
        )
    ranks = [f"{r} {as_text(c['critic'])} against {as_text(c['entropy'])}" for r, c in correlation.items()]
    return [
        *lines,
        "rank correlation with Dice over cases, of mean confidence against negative mean entropy "
        f"(1 is perfect, below 0 misleads): {', '.join(ranks)}",
    ]


def _array(volume: torch.Tensor) -> np.ndarray:
    return torch.as_tensor(volume).as_subclass(torch.Tensor).float().cpu().numpy()


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _mean_or_nan(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else math.nan


def as_text(value: float | None) -> str:
    """Gives a metric to three decimals, `n/a` for None."""
    return "n/a" if value is None else f"{value:.3f}"
