# SPDX-License-Identifier: Apache-2.0
"""Summary of the reliability scores over cases and regions, with a verdict in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import bootstrap, spearmanr

from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS
from scripts.evaluation.reliability.islands import count_doubted, doubted_as_text
from scripts.evaluation.reliability.scores import UNCERTAINTIES, ZONES, Row

SCORES = {"auroc": "AUROC", "average_precision": "AP"}
UNCERTAINTY_NAMES = {"critic": "critic", "entropy": "probabilities"}
RESAMPLES = 9999
ZONE_TITLES = {
    "boundary": "within 3 mm of the prediction's surface",
    "neighbourhood": "within 10 mm of the predicted or true region",
}


def summarise(rows: Sequence[Row], islands: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Averages the rows of `score_case`, compares the two measures of uncertainty, and counts islands.

    Args:
        rows: of all cases.
        islands: of all cases, as `scripts.inference.ListIslandsd` lists them where there is a truth.

    Returns:
        `zones`: for each zone and region, and for `all` regions, the means of `wrong_share`, `auroc_*` and
        `average_precision_*` over the `n` rows that have them, and as `auroc_difference` and
        `average_precision_difference` those of the critic minus those of the entropy, with `mean` and the bounds `low`
        and `high` of the interval over cases (see `_difference`); `correlation`: for each region, Spearman's rank
        correlation over the `n` cases of Dice with the critic's mean confidence (`critic`) and with the negative mean
        entropy (`entropy`); `expected_dice` and `calibration`: of these functions; `volume_interval`: of how many of
        `n` regions it holds the true volume; `islands`: of `count_doubted`; `verdict`: lines of text; `cases` and
        `note`. What cannot be computed is None.
    """
    zones: dict[str, Any] = {}
    for zone in ZONES:
        for region in (*REGIONS, "all"):
            scored = [r for r in rows if region in (r["region"], "all") and not math.isnan(r[f"{zone}_auroc_critic"])]
            names = ["wrong_share", *(f"{s}_{u}" for s in SCORES for u in UNCERTAINTIES)]
            means = {name: _mean([row[f"{zone}_{name}"] for row in scored]) for name in names}
            differences = {f"{score}_difference": _difference(scored, f"{zone}_{score}") for score in SCORES}
            zones.setdefault(zone, {})[region] = means | differences | {"n": len(scored)}
    correlation = {region: _correlation([r for r in rows if r["region"] == region]) for region in REGIONS}
    known = [row for row in rows if not math.isnan(row["expected_dice_critic"])]
    held = [row["volume_low_ml"] <= row["volume_ml"] <= row["volume_high_ml"] for row in known]
    expected = expected_dice(rows)
    doubted = count_doubted(islands)
    return {
        "note": NOT_FOR_DIAGNOSIS,
        "cases": len(rows) // len(REGIONS),
        "zones": zones,
        "correlation": correlation,
        "expected_dice": expected,
        "volume_interval": {"n": len(known), "held": sum(held)},
        "calibration": calibration(rows),
        "islands": doubted,
        "verdict": [
            *_verdict(zones, correlation),
            *_verdict_on_dice(expected["all"]),
            *_verdict_on_islands(doubted[-1]),
        ],
    }


def expected_dice(rows: Sequence[Row]) -> dict[str, dict[str, float | int | None]]:
    """Returns how well the expected Dice tells the true one, without rows in which nothing was predicted.

    Returns:
        For each region, Spearman's rank correlation over its `n` cases of the expected with the true Dice, as
        `correlation_<measure>`, and the mean absolute error, as `error_<measure>`; for `all`, means over the regions.
    """
    found = {region: _expected_dice([row for row in rows if row["region"] == region]) for region in REGIONS}
    names = [name for name in found[REGIONS[0]] if name != "n"]
    known = {name: [value for region in REGIONS if (value := found[region][name]) is not None] for name in names}
    means = {name: _mean(values) for name, values in known.items()}
    return found | {"all": {"n": sum(int(found[region]["n"] or 0) for region in REGIONS), **means}}


def calibration(rows: Sequence[Row]) -> dict[str, Any]:
    """Pools the bins of the critic's confidence in each zone.

    Returns:
        For each zone, `error`, ECE = sum over bins of |sum of confidence - right voxels| / all voxels, and `bins` with
        the mean `confidence`, the share of `right` voxels and the number of `voxels`; empty bins are left out.
    """
    return {zone: _pool([row[f"{zone}_calibration"] for row in rows]) for zone in ZONES}


def difference_as_text(difference: Mapping[str, float | None]) -> str:
    """Returns a difference and its interval as text."""
    mean, low, high = (
        None if difference[key] is None else f"{difference[key]:+.3f}" for key in ("mean", "low", "high")
    )
    return "n/a" if mean is None else mean if low is None else f"{mean} ({low} to {high})"


def as_text(value: float | None) -> str:
    """Returns a number with three decimals, `n/a` for None."""
    return "n/a" if value is None else f"{value:.3f}"


def _difference(rows: Sequence[Row], score: str) -> dict[str, float | None]:
    """Returns the critic's mean score minus the entropy's, with the 95 % percentile bootstrap interval over cases.

    Cases are resampled with all their regions, because the regions of a patient are not independent. The bounds are
    None if there are fewer than two cases.
    """
    by_case: dict[str, list[float]] = {}
    for row in rows:
        by_case.setdefault(row["case"], []).append(row[f"{score}_critic"] - row[f"{score}_entropy"])
    sums = np.array([sum(differences) for differences in by_case.values()])
    counts = np.array([len(differences) for differences in by_case.values()])
    if not len(counts):
        return {"mean": None, "low": None, "high": None}
    interval: tuple[float | None, float | None] = (None, None)
    if len(counts) > 1:
        result = bootstrap(
            (sums, counts),
            lambda s, c, axis: s.sum(axis) / c.sum(axis),
            paired=True,
            vectorized=True,
            n_resamples=RESAMPLES,
            method="percentile",  # BCa is undefined if all cases are equal
            rng=np.random.default_rng(0),
        )
        interval = (float(result.confidence_interval.low), float(result.confidence_interval.high))
    return {"mean": float(sums.sum() / counts.sum()), "low": interval[0], "high": interval[1]}


def _correlation(rows: Sequence[Row]) -> dict[str, float | int | None]:
    known = [row for row in rows if not math.isnan(row["mean_confidence"])]
    dice = [row["dice"] for row in known]
    means = {"critic": [r["mean_confidence"] for r in known], "entropy": [-r["mean_entropy"] for r in known]}
    return {"n": len(known)} | {name: _rank_correlation(values, dice) for name, values in means.items()}


def _expected_dice(rows: Sequence[Row]) -> dict[str, float | int | None]:
    known = [row for row in rows if not math.isnan(row["expected_dice_critic"])]
    dice = [row["dice"] for row in known]
    found: dict[str, float | int | None] = {"n": len(known)}
    for name in UNCERTAINTIES:
        expected = [row[f"expected_dice_{name}"] for row in known]
        found[f"correlation_{name}"] = _rank_correlation(expected, dice)
        found[f"error_{name}"] = _mean([abs(e - d) for e, d in zip(expected, dice)])
    return found


def _rank_correlation(values: Sequence[float], dice: Sequence[float]) -> float | None:
    # two cases are always perfectly correlated, and constant values have no ranks
    if len(dice) < 3 or len(set(dice)) == 1 or len(set(values)) == 1:
        return None
    return float(spearmanr(values, dice).statistic)


def _pool(calibrations: Sequence[Sequence[tuple[float, ...]]]) -> dict[str, Any]:
    voxels, confidence, right = np.sum(calibrations, axis=0).T
    filled = voxels > 0
    columns = (confidence[filled] / voxels[filled], right[filled] / voxels[filled], voxels[filled])
    bins = [dict(zip(("confidence", "right", "voxels"), map(float, values))) for values in zip(*columns)]
    return {"error": float(np.abs(confidence - right).sum() / voxels.sum()) if filled.any() else None, "bins": bins}


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
            f"(0.5 is chance; mean over N = {means['n']} cases and regions), "
            f"difference {difference_as_text(means['auroc_difference'])}"
        )
    ranks = [f"{r} {as_text(c['critic'])} against {as_text(c['entropy'])}" for r, c in correlation.items()]
    return [
        *lines,
        "rank correlation with Dice over cases, of mean confidence against negative mean entropy "
        f"(1 is perfect, below 0 misleads): {', '.join(ranks)}",
    ]


def _verdict_on_dice(found: Mapping[str, float | int | None]) -> list[str]:
    """Says from which measure to take the size of the expected Dice, and from which the order of cases."""
    errors, ranks = (
        [value for name in UNCERTAINTIES if (value := found[f"{what}_{name}"]) is not None]
        for what in ("error", "correlation")
    )
    if len(errors) + len(ranks) < 2 * len(UNCERTAINTIES):
        return []
    nearer, surer = UNCERTAINTIES[int(errors[1] < errors[0])], UNCERTAINTIES[int(ranks[1] > ranks[0])]
    return [
        f"take the size of the expected Dice from the {UNCERTAINTY_NAMES[nearer]} (mean error {as_text(min(errors))} "
        f"against {as_text(max(errors))}) and the order of cases from the {UNCERTAINTY_NAMES[surer]} (rank correlation "
        f"{as_text(max(ranks))} against {as_text(min(ranks))}), means over the regions"
    ]


def _verdict_on_islands(counts: Mapping[str, float]) -> list[str]:
    return [doubted_as_text(counts)] if counts["false"] + counts["true"] else []


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
