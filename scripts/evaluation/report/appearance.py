# SPDX-License-Identifier: Apache-2.0
"""Colours, label maps and PNG files for plots of matplotlib."""

from __future__ import annotations

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from scripts.brats import TISSUES

INK, QUIET, WARNING, GRID = "#24292f", "#57606a", "#9a3412", "#d0d7de"  # as in web/base.css


def show_labels(axes: Axes, labels: np.ndarray) -> None:
    """Draws a plane (H, W) of a label map (0, 1, 2, 4) over the content of the axes."""
    ranks = np.select([labels == value for value in TISSUES], [1, 2, 3], 0)
    colours = ListedColormap([tissue.colour for tissue in TISSUES.values()])
    axes.imshow(np.ma.masked_equal(ranks, 0), cmap=colours, vmin=1, vmax=3, alpha=0.55, interpolation="nearest")


def to_png(figure: Figure) -> bytes:
    """Returns the content of a PNG file of the figure."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()
