# SPDX-License-Identifier: Apache-2.0
"""The metrics as tables: on the screen, and as a CSV file of every case and region."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from monai.config import NdarrayOrTensor as Array
from monai.config import PathLike
from monai.utils import convert_to_numpy

from scripts.base.errors import BundleError
from scripts.base.text_files import write_csv
from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS


class MetricFormat(NamedTuple):
    """How a metric is shown.

    Attributes:
        heading: name of the metric for people.
        unit: unit of its values.
        decimals: digits after the decimal point.
        averaged: whether its mean over the regions of a case is meaningful.
    """

    heading: str
    unit: str = ""
    decimals: int = 4
    averaged: bool = True

    @property
    def title(self) -> str:
        """Returns the heading with the unit."""
        return f"{self.heading} ({self.unit})" if self.unit else self.heading


# all metrics that are reported, in this order
METRIC_FORMATS = {
    "dice": MetricFormat("Dice"),
    "expected_dice": MetricFormat("Expected Dice"),
    "hd95": MetricFormat("HD95", "mm", 2),
    "pooled_hd95": MetricFormat("Pooled HD95", "mm", 2),
    "sensitivity": MetricFormat("Sensitivity"),
    "specificity": MetricFormat("Specificity"),
    "surface_dice": MetricFormat("Surface Dice at 1 mm"),
    "nsd": MetricFormat("NSD"),
    "lesion_dice": MetricFormat("Lesion-wise Dice"),
    "lesion_hd95": MetricFormat("Lesion-wise HD95", "mm", 2),
    "matched_dice": MetricFormat("Dice of matched lesions"),
    "matched_nsd": MetricFormat("NSD of matched lesions"),
    "matched_hd95": MetricFormat("Pooled HD95 of matched lesions", "mm", 2),
    "matched_lesions": MetricFormat("Matched lesions", decimals=2, averaged=False),
    "missed_lesions": MetricFormat("Missed lesions", decimals=2, averaged=False),
    "false_lesions": MetricFormat("False lesions", decimals=2, averaged=False),
    "lesions": MetricFormat("Lesions, predicted", decimals=2, averaged=False),
    "true_lesions": MetricFormat("Lesions, true", decimals=2, averaged=False),
    "volume_ml": MetricFormat("Volume, predicted", "ml", 2, averaged=False),
    "true_volume_ml": MetricFormat("Volume, true", "ml", 2, averaged=False),
    "expected_volume_ml": MetricFormat("Volume, expected", "ml", 2, averaged=False),
    "volume_low_ml": MetricFormat("Volume, 80 % interval from", "ml", 2, averaged=False),
    "volume_high_ml": MetricFormat("Volume, 80 % interval to", "ml", 2, averaged=False),
    "calibration_error": MetricFormat("Calibration error"),
}
PAPER_METRICS = ("dice", "hd95", "sensitivity", "specificity")  # of the paper's tables
# what fits a terminal, by the metric that only these scoring rules have
SCREEN_METRICS = {
    "lesion_dice": ("lesion_dice", "lesion_hd95", "dice", "hd95"),
    "matched_dice": ("matched_dice", "matched_hd95", "dice", "pooled_hd95"),
}
HD95_NOTE = (
    "HD95: the larger of the two directed 95th percentiles of the surface distances; pooled HD95: the 95th percentile "
    "of both directions together, as BraTS counts it since 2025"
)


def region_table(metrics: Mapping[str, Array]) -> str:
    """Returns a text table: mean ± SD over cases, for each region and for the mean over the regions of a case.

    NaN is left out of the means, and a line says for how many cases.

    Args:
        metrics: values (N, 3) of cases and regions by names of `METRIC_FORMATS`. Those of `SCREEN_METRICS` for the
            scoring rules are shown, otherwise `PAPER_METRICS`.

    Raises:
        BundleError: if there is no such metric or no case, or shapes differ.
    """
    names = next((names for only, names in SCREEN_METRICS.items() if only in metrics), PAPER_METRICS)
    arrays = checked(metrics, names=names)
    columns = [["region", *REGIONS, "mean"]]
    for name, values in arrays.items():
        rows = [*values.T, case_means(values)]
        decimals = METRIC_FORMATS[name].decimals
        columns.append([METRIC_FORMATS[name].title, *(_mean_and_sd(row, decimals=decimals) for row in rows)])
    widths = [max(map(len, column)) for column in columns]
    lines = ["   ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in zip(*columns)]
    count = len(next(iter(arrays.values())))
    notes = [
        f"mean ± SD, N = {count}",
        *left_out_lines(arrays),
        *([HD95_NOTE] if any("hd95" in n for n in arrays) else []),
    ]
    return "\n".join([*lines, *notes, NOT_FOR_DIAGNOSIS])


def left_out_lines(metrics: Mapping[str, np.ndarray]) -> list[str]:
    """Returns a line that says how many cases have no value and do not count, or no line if all have one."""
    words = []
    for name, values in metrics.items():
        counts = np.isnan(values).sum(axis=0)
        regions = ", ".join(f"{region} {count}" for region, count in zip(REGIONS, counts) if count)
        words += [f"{METRIC_FORMATS[name].heading} {regions}"] if regions else []
    count = len(next(iter(metrics.values())))
    return [f"left out, of {count} cases (no truth, or undefined): {'; '.join(words)}"] if words else []


def write_per_case(
    path: PathLike, cases: Sequence[str], metrics: Mapping[str, Array], *, missing: Mapping[str, str] | None = None
) -> None:
    """Writes a CSV file with a row for each case and region; NaN becomes an empty cell.

    Args:
        path: path of the file; its folders are created.
        cases: ids of N cases.
        metrics: values (N, 3) of cases and regions by names of `METRIC_FORMATS`.
        missing: what a case lacked, in words, by the ids of such cases; a column where there are any.

    Raises:
        BundleError: if the numbers of cases differ, there is no metric, or the file cannot be written.
    """
    arrays = checked(metrics)
    count = len(next(iter(arrays.values())))
    if count != len(cases):
        raise BundleError(f"cases: found {len(cases)} ids for metrics of {count} cases; give one id for each.")
    write_csv(
        path,
        [
            {"case": cases[case], "region": REGIONS[region]}
            | {name: a[case, region] for name, a in arrays.items()}
            | ({"missing": missing.get(cases[case], "")} if missing else {})
            for case, region in np.ndindex(count, len(REGIONS))
        ],
    )


def checked(metrics: Mapping[str, Array], *, names: Sequence[str] = tuple(METRIC_FORMATS)) -> dict[str, np.ndarray]:
    """Returns the known metrics as float64 (N, 3), in the order of `names`.

    Raises:
        BundleError: if none of the names is among the metrics, or shapes differ.
    """
    arrays = {name: convert_to_numpy(metrics[name]).astype(float) for name in names if name in metrics}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or any(len(shape) != 2 or not shape[0] or shape[1] != len(REGIONS) for shape in shapes):
        found = {name: tuple(convert_to_numpy(values).shape) for name, values in metrics.items()}
        raise BundleError(f"metrics: found {found}; give some of {', '.join(names)}, each as (cases, 3).")
    return arrays


def case_means(values: np.ndarray) -> np.ndarray:
    """Returns the means (N,) over the regions of (N, 3) without NaN; NaN if all are NaN."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mean of empty slice")
        return np.nanmean(values, axis=1)


def _mean_and_sd(values: np.ndarray, *, decimals: int) -> str:
    values = values[~np.isnan(values)]
    mean = f"{values.mean():.{decimals}f}" if len(values) else "n/a"
    deviation = f"{values.std(ddof=1):.{decimals}f}" if len(values) > 1 else "n/a"
    return f"{mean} ± {deviation:>6}"
