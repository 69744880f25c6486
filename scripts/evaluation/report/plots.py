# SPDX-License-Identifier: Apache-2.0
"""The report's plots: box plots of the metrics and slices of cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from monai.config import NdarrayOrTensor as Array

from scripts.brats import MODALITIES, NOT_FOR_DIAGNOSIS, REGION_COLOURS, REGIONS, TISSUES
from scripts.evaluation.report.appearance import GRID, INK, QUIET, WARNING, show_labels, to_png
from scripts.evaluation.report.tables import METRIC_FORMATS, PAPER_METRICS, checked
from scripts.evaluation.report.volumes import CaseVolumes


class CaseSlice(NamedTuple):
    """The axial plane of a case with the largest tumour, anterior up and the patient's right on the left.

    Attributes:
        title: title of the row, such as `worst` and the case's id.
        place: which slice it is.
        planes: (height, width) uint8 by column of `draw_slices`; those that the case lacks are missing.
        aspect: height of a pixel divided by its width.
    """

    title: str
    place: str
    planes: dict[str, np.ndarray]
    aspect: float


def draw_box_plots(metrics: Mapping[str, Array]) -> bytes:
    """Returns a PNG like the paper's Fig. 3: for each metric a box per region, with every case as a dot.

    Boxes show quartiles and median; whiskers extend to the last case within 1.5 times the height of the box. The scale
    of HD95 is linear up to 1 mm and logarithmic above. NaN is left out.

    Args:
        metrics: values (N, 3) of cases and regions; those of `report.tables.PAPER_METRICS` are drawn.

    Raises:
        BundleError: if there is no such metric or no case, or shapes differ.
    """
    arrays = checked(metrics, names=PAPER_METRICS)
    figure = Figure(figsize=(3.1 * len(arrays), 4.2), dpi=160, facecolor="white")
    panels = figure.subplots(1, len(arrays), squeeze=False)[0]
    figure.subplots_adjust(left=0.045 if len(arrays) > 2 else 0.15, right=0.99, bottom=0.16, top=0.9, wspace=0.25)
    for axes, (name, values) in zip(panels, arrays.items()):
        _draw_boxes(axes, values)
        axes.set_title(METRIC_FORMATS[name].title, color=INK, fontsize=12)
        if name in ("dice", "sensitivity"):
            axes.set_ylim(-0.03, 1.03)
        elif name == "hd95":
            axes.set_yscale("symlog", linthresh=1)
            ticks = [0, 1, 3, 10, 30, 100, 300]
            axes.set_yticks(ticks, [str(tick) for tick in ticks])
            axes.minorticks_off()
            axes.set_ylim(bottom=-0.1, top=500)
    count = len(next(iter(arrays.values())))
    figure.text(0.012, 0.03, f"N = {count}. Box: quartiles and median; a dot is a case.", color=QUIET, fontsize=9)
    figure.text(0.99, 0.03, NOT_FOR_DIAGNOSIS, color=WARNING, fontsize=9, ha="right", weight="bold")
    return to_png(figure)


def take_slice(volumes: CaseVolumes, *, title: str) -> CaseSlice:
    """Returns the planes of a case that `draw_slices` shows."""
    index = volumes.focus[2]
    shown = dict(zip(MODALITIES, volumes.image))
    shown |= {"truth": volumes.truth, "prediction": volumes.prediction}
    if volumes.confidence is not None:
        shown["critic's confidence"] = volumes.confidence.mean(axis=0)
    planes = {name: np.array(volume[..., index].T[::-1, ::-1]) for name, volume in shown.items() if volume is not None}
    place = f"axial slice {volumes.start[2] + index + 1} of {volumes.size[2]}"
    return CaseSlice(title, place, planes, float(volumes.spacing[1] / volumes.spacing[0]))


def draw_slices(cases: Sequence[CaseSlice]) -> bytes:
    """Returns a PNG like the paper's Fig. 4, a row per case: T1ce, FLAIR, truth, prediction and confidence."""
    columns = ["T1ce", "FLAIR", "truth", "prediction", "critic's confidence"]
    columns = [name for name in columns if name in ("T1ce", "FLAIR") or any(name in case.planes for case in cases)]
    size, head, foot = 2.5, 0.45, 0.75
    figure = Figure(figsize=(size * len(columns), size * 1.28 * len(cases) + head + foot), dpi=130, facecolor="black")
    height = figure.get_figheight()
    options = {"frame_on": False, "xticks": [], "yticks": []}
    panels = figure.subplots(len(cases), len(columns), squeeze=False, subplot_kw=options)
    figure.subplots_adjust(0.012, foot / height, 0.988, 1 - (head + 0.3) / height, wspace=0.03, hspace=0.12)
    confidence = None
    for case, row in zip(cases, panels):
        for name, axes in zip(columns, row):
            confidence = _draw_plane(axes, case, name) or confidence
        top = row[0].get_position().y1 + 0.06 / height
        figure.text(0.014, top, case.title, color="w", fontsize=12, weight="bold")
        figure.text(0.986, top, case.place, color="silver", fontsize=11, ha="right")
    for name, axes in zip(columns, panels[0]):
        middle = (axes.get_position().x0 + axes.get_position().x1) / 2
        heading = f"{name} on FLAIR" if name in ("truth", "prediction") else name
        figure.text(middle, 1 - 0.27 / height, heading, color="silver", fontsize=12, ha="center")
    patches = [Patch(color=tissue.colour, label=tissue.name) for tissue in TISSUES.values()]
    corner = (0.008, 0.12 / height)
    figure.legend(
        handles=patches, loc="lower left", bbox_to_anchor=corner, ncols=3, frameon=False, labelcolor="w", fontsize=11
    )
    figure.text(0.986, 0.2 / height, NOT_FOR_DIAGNOSIS, color="gold", fontsize=12, ha="right", va="bottom")
    if confidence is not None:
        middle = (panels[-1][-2].get_position().x0 + panels[-1][-2].get_position().x1) / 2
        bar = figure.colorbar(
            confidence,
            cax=figure.add_axes((middle - 0.07, 0.36 / height, 0.14, 0.09 / height)),
            orientation="horizontal",
        )
        bar.ax.tick_params(colors="w", labelsize=8, length=2)
        bar.set_ticks([0, 50, 100], labels=["0 %", "confidence", "100 %"])
    return to_png(figure)


def _draw_boxes(axes: Axes, values: np.ndarray) -> None:
    columns = [column[~np.isnan(column)] for column in values.T]
    boxes = axes.boxplot(
        columns, widths=0.55, showfliers=False, patch_artist=True, medianprops={"color": INK, "linewidth": 1.6}
    )
    for box, region in zip(boxes["boxes"], REGIONS):
        box.set(facecolor=REGION_COLOURS[region], alpha=0.55, edgecolor=INK)
    for position, column in enumerate(columns, start=1):
        # side by side, in the order of the cases, so that equal ones do not hide each other
        spread = np.linspace(-0.16, 0.16, len(column)) if len(column) > 1 else np.zeros(len(column))
        axes.scatter(position + spread, column, s=11, color=INK, alpha=0.55, linewidths=0, zorder=3)
    axes.set_xticks(range(1, len(REGIONS) + 1), REGIONS)
    axes.tick_params(colors=INK, labelsize=10)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _draw_plane(axes: Axes, case: CaseSlice, name: str) -> AxesImage | None:
    if name not in case.planes:
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, color="gray", ha="center", va="center")
        return None
    under = case.planes["FLAIR" if name in ("truth", "prediction") else name]
    confident = name not in ("truth", "prediction", "T1ce", "FLAIR")
    shown = axes.imshow(
        np.ma.masked_where((case.planes["FLAIR"] | case.planes["T1ce"]) == 0, under) if confident else under,
        cmap="viridis" if confident else "gray",
        vmin=0,
        vmax=100 if confident else 255,
        aspect=case.aspect,
    )
    if name in ("truth", "prediction"):
        show_labels(axes, case.planes[name])
    for x, side in ((0.04, "R"), (0.96, "L")):
        axes.text(x, 0.93, side, transform=axes.transAxes, color="silver", fontsize=10, ha="center", va="center")
    return shown if confident else None
