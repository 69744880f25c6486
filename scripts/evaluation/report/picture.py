# SPDX-License-Identifier: Apache-2.0
"""Handler that draws the first case of an evaluation, used after training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from ignite.engine import Events
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from monai.config import NdarrayOrTensor as Array
from monai.config import PathLike
from monai.engines import Evaluator
from monai.transforms.utils import generate_spatial_bounding_box
from monai.utils import convert_to_numpy
from torch import nn

from scripts.base.errors import BundleError
from scripts.base.results import write_result
from scripts.brats import MODALITIES, NOT_FOR_DIAGNOSIS, TISSUES
from scripts.evaluation.report.appearance import show_labels, to_png

PANELS = (*MODALITIES, "truth on FLAIR", "prediction on FLAIR", "critic's confidence")


class CasePictureHandler:
    """Draws the first case of an evaluation: modalities, truth, prediction and the critic's confidence.

    The evaluator's output must contain `image`, `label`, `pred` (regions) and `probabilities` in one resolution.

    Args:
        path: path of the PNG file.
        critic: the critic whose confidence in the probabilities is drawn.
    """

    def __init__(self, path: PathLike, *, critic: nn.Module) -> None:
        self.path = path
        self.critic = critic

    def attach(self, engine: Evaluator) -> None:
        """Registers the handler on an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=1), self)

    def __call__(self, engine: Evaluator) -> None:
        """Draws the case and prints the path of the file."""
        (item,), (output,) = engine.state.batch, engine.state.output
        self.critic.eval()
        with torch.no_grad():
            probabilities, image = (torch.as_tensor(output[key])[None] for key in ("probabilities", "image"))
            confidence = self.critic(probabilities, image).sigmoid()[0]
        draw_case(self.path, output["image"], output["label"], output["pred"], confidence, title=item["case"])
        print(f"picture of {item['case']}: {self.path}")


def draw_case(
    path: PathLike, image: Array, truth: Array, prediction: Array, confidence: Array | None = None, *, title: str
) -> None:
    """Draws the axial slice with the largest true tumour, or predicted tumour if there is no true one, as a PNG file.

    Args:
        path: path of the file; its folders are created.
        image: modalities (4, H, W, D) in [0, 1], axes to the right, anterior and superior, square voxels in the plane.
        truth: binary regions (3, H, W, D).
        prediction: binary regions (3, H, W, D).
        confidence: the critic's (3, H, W, D) in [0, 1]; its mean over the regions is shown inside the brain.
        title: line above the panels, such as the case's id.

    Raises:
        BundleError: if shapes differ, the image is empty, or the file cannot be written.
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
    write_result(path, to_png(figure))


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
        show_labels(axes, np.select([enhancing, core, whole], [4, 1, 2]))
    legend = panels[len(views)]
    patches = [Patch(color=tissue.colour, label=tissue.name.replace(" or ", " or\n")) for tissue in TISSUES.values()]
    legend.legend(handles=patches, loc="upper left", frameon=False, labelcolor="w", fontsize=12, labelspacing=0.9)
    if "confidence" in planes:
        bar = figure.colorbar(shown, cax=legend.inset_axes((0.06, 0.25, 0.88, 0.05)), orientation="horizontal")
        bar.set_label("critic's confidence\n(0: surely wrong, 1: surely right)", color="w", fontsize=9)
        bar.ax.tick_params(colors="w")
    return figure


def _check_volumes(arrays: Mapping[str, np.ndarray]) -> None:
    for name, array in arrays.items():
        if array.ndim != 4 or array.shape != (4 if name == "image" else 3, *arrays["image"].shape[1:]):
            raise BundleError(f"{name}: found shape {array.shape}; give image as (4, H, W, D), others as (3, H, W, D).")
    if not arrays["image"].any():
        raise BundleError("image: found only zeros; give a scan with a brain in it.")
