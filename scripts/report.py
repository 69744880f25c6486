# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from ignite import distributed as idist
from ignite.engine import Events
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from monai.config import NdarrayOrTensor as Array
from monai.config import PathLike
from monai.engines import Evaluator
from monai.transforms.utils import generate_spatial_bounding_box
from monai.utils import convert_to_numpy, string_list_all_gather

from scripts.errors import BundleError
from scripts.metrics import FIGURES, REGIONS

NOT_FOR_DIAGNOSIS = "Not for diagnosis."
HEADINGS = {"dice": "Dice", "hd95": "HD95 (mm)", "sensitivity": "sensitivity", "specificity": "specificity"}
PANELS = ("T1", "T1ce", "T2", "FLAIR", "truth on FLAIR", "prediction on FLAIR", "critic's confidence")
# the colours of the paper's Fig. 1; where regions overlap, the later one is seen
LABEL_COLOURS = {"oedema": "#2ea043", "necrotic or\nnon-enhancing core": "#848d97", "enhancing tumour": "#ffd33d"}


class EvaluationReport:
    """Handler of a MONAI evaluator: prints a table of the regions and writes `per_case.csv` when it completes.

    It reports the metrics that are named after a figure of `scripts.metrics.FIGURES`, with or without `mean_` before
    it, and names the rows after the `case` of the items.

    Args:
        output_dir: folder of `per_case.csv`.
        title: line above the table.
    """

    def __init__(self, output_dir: PathLike, title: str) -> None:
        self.path = Path(output_dir) / "per_case.csv"
        self.title = title
        self._cases: list[str] = []

    def attach(self, engine: Evaluator) -> None:
        engine.add_event_handler(Events.EPOCH_STARTED, self._cases.clear)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Evaluator) -> None:
        figures = {name.removeprefix("mean_"): values for name, values in engine.state.metric_details.items()}
        # process by process, as the metrics gather their values
        cases = string_list_all_gather(self._cases)
        if idist.get_rank() == 0:
            write_per_case(self.path, cases, figures)
            print(f"{self.title}\n{region_table(figures)}\n{self.path}")

    def _collect(self, engine: Evaluator) -> None:
        batch = engine.state.batch
        if not isinstance(batch, list) or not all("case" in item for item in batch):
            raise BundleError("EvaluationReport: found items without 'case'; keep it, and decollate in the evaluator.")
        self._cases += [str(item["case"]) for item in batch]


def region_table(figures: Mapping[str, Array]) -> str:
    """A table for the screen: mean ± SD over cases, of each region and of a case's mean over the regions.

    Takes (N, 3) of cases and regions by names of `scripts.metrics.FIGURES`; only these become columns. Raises
    BundleError if there is no such figure or no case, or shapes differ.
    """
    arrays = _checked(figures)
    columns = [["region", *REGIONS, "mean"]]
    for name, values in arrays.items():
        rows = [*values.T, values.mean(axis=1)]
        columns.append([HEADINGS[name], *(_mean_and_sd(row, decimals=2 if name == "hd95" else 4) for row in rows)])
    widths = [max(map(len, column)) for column in columns]
    lines = ["   ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in zip(*columns)]
    return "\n".join([*lines, f"mean ± SD, N = {len(rows[0])}", NOT_FOR_DIAGNOSIS])


def write_per_case(path: PathLike, cases: Sequence[str], figures: Mapping[str, Array]) -> None:
    """Writes a CSV file of a line per case and region, to six significant digits, whole or not at all.

    Takes the ids of N cases, and figures as `region_table` does. Raises BundleError if the two do not match, or the
    file cannot be written; its folders are made.
    """
    arrays = _checked(figures)
    count = len(next(iter(arrays.values())))
    if count != len(cases):
        raise BundleError(f"cases: found {len(cases)} ids for figures of {count} cases; give one id for each.")
    rows = [[cases[c], REGIONS[r], *(f"{a[c, r]:.6g}" for a in arrays.values())] for c, r in np.ndindex(count, 3)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([["case", "region", *arrays], *rows])
    _write(Path(path), text.getvalue().encode())


def draw_case(
    path: PathLike, image: Array, truth: Array, prediction: Array, confidence: Array | None = None, *, title: str
) -> None:
    """Draws into a PNG file the axial slice with the largest whole tumour, true or, if none is, predicted.

    Args:
        path: of the file; folders are made.
        image: modalities (4, H, W, D) in [0, 1], axes to the right, anterior and superior, voxels square in the plane.
        truth: binary regions (3, H, W, D).
        prediction: binary regions (3, H, W, D).
        confidence: the critic's (3, H, W, D) in [0, 1]; its mean over the regions is shown where the brain is.
        title: line above the panels, such as the case's id.

    Raises:
        BundleError: if shapes do not fit, the image is empty, or the file cannot be written.
    """
    volumes = {"image": image, "truth": truth, "prediction": prediction, "confidence": confidence}
    arrays = {name: convert_to_numpy(volume) for name, volume in volumes.items() if volume is not None}
    _check_volumes(arrays)
    brain = arrays["image"].any(axis=0)
    tumour = next(mask for mask in (arrays["truth"][1], arrays["prediction"][1], brain) if mask.any())
    index = int((tumour > 0).sum(axis=(0, 1)).argmax())
    (left, back, _), (right, front, _) = generate_spatial_bounding_box(brain[None], margin=4, allow_smaller=True)
    # radiological view: anterior up, and the patient's right on the left
    planes = {n: a[:, left:right, back:front, index].swapaxes(1, 2)[:, ::-1, ::-1] for n, a in arrays.items()}
    figure = _draw_planes(planes)
    figure.text(0.015, 0.955, f"{title}  ·  axial slice {index + 1} of {brain.shape[-1]}", color="w", fontsize=15)
    figure.text(0.985, 0.955, NOT_FOR_DIAGNOSIS, color="gold", fontsize=15, ha="right")
    png = io.BytesIO()
    figure.savefig(png, format="png")
    _write(Path(path), png.getvalue())


def _draw_planes(planes: Mapping[str, np.ndarray]) -> Figure:
    figure = Figure(figsize=(12.4, 8), dpi=120, facecolor="black")
    panels = figure.subplots(2, 4, subplot_kw={"frame_on": False, "xticks": [], "yticks": []}).ravel()
    figure.subplots_adjust(left=0.015, right=0.985, bottom=0.015, top=0.9, wspace=0.03, hspace=0.09)
    views = [*planes["image"], planes["image"][3], planes["image"][3]]
    if "confidence" in planes:
        views.append(np.ma.masked_where(~planes["image"].any(axis=0), planes["confidence"].mean(axis=0)))
    for axes, heading, view in zip(panels, PANELS, views):
        shown = axes.imshow(view, cmap="viridis" if heading == PANELS[6] else "gray", vmin=0, vmax=1)
        axes.set_title(heading, color="w", fontsize=12)
        for x, side in ((0.04, "R"), (0.96, "L")):
            axes.text(x, 0.95, side, transform=axes.transAxes, color="silver", ha="center", va="center")
    for axes, regions in zip(panels[4:], (planes["truth"], planes["prediction"])):
        core, whole, enhancing = regions > 0.5
        labels = np.max([whole, 2 * core, 3 * enhancing], axis=0)
        colours = ListedColormap(list(LABEL_COLOURS.values()))
        axes.imshow(np.ma.masked_equal(labels, 0), cmap=colours, vmin=1, vmax=3, alpha=0.55, interpolation="nearest")
    legend = panels[len(views)]
    patches = [Patch(color=colour, label=label) for label, colour in LABEL_COLOURS.items()]
    legend.legend(handles=patches, loc="upper left", frameon=False, labelcolor="w", fontsize=12, labelspacing=0.9)
    if "confidence" in planes:
        bar = figure.colorbar(shown, cax=legend.inset_axes((0.06, 0.25, 0.88, 0.05)), orientation="horizontal")
        bar.set_label("critic's confidence\n(0 = judged predicted/false, 1 = judged true)", color="w", fontsize=9)
        bar.ax.tick_params(colors="w")
    return figure


def _check_volumes(arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if array.ndim != 4 or array.shape != (4 if name == "image" else 3, *arrays["image"].shape[1:]):
            raise BundleError(f"{name}: found shape {array.shape}; give image as (4, H, W, D), others as (3, H, W, D).")
    if not arrays["image"].any():
        raise BundleError("image: found no voxel but 0; give a scan with a brain in it.")


def _checked(figures: Mapping[str, Array]) -> dict[str, np.ndarray]:
    arrays = {name: convert_to_numpy(figures[name]).astype(float) for name in FIGURES if name in figures}
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or any(len(shape) != 2 or not shape[0] or shape[1] != len(REGIONS) for shape in shapes):
        raise BundleError(f"figures: found {list(figures)} of shapes {sorted(shapes)}; give {FIGURES} as (cases, 3).")
    return arrays


def _mean_and_sd(values: np.ndarray, *, decimals: int) -> str:
    deviation = f"{values.std(ddof=1):.{decimals}f}" if len(values) > 1 else "n/a"
    return f"{values.mean():.{decimals}f} ± {deviation:>6}"


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=path.parent) as folder:
            unfinished = Path(folder) / path.name
            unfinished.write_bytes(content)
            os.replace(unfinished, path)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written ({error.strerror}); give a place that can.") from error
