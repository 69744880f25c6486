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

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

NOT_FOR_DIAGNOSIS = "Not for diagnosis."
REGION_NAMES = {"TC": "Tumour core", "WT": "Whole tumour", "ET": "Enhancing tumour"}
# the colours of the paper's Fig. 1 and 4; where regions overlap, the later one is seen
LABEL_COLOURS = {"oedema": "#2ea043", "necrotic or\nnon-enhancing core": "#848d97", "enhancing tumour": "#ffd33d"}
COLOURS_BY_VALUE = dict(zip((2, 1, 4), LABEL_COLOURS.values()))  # in a label map
REGION_COLOURS = {"TC": COLOURS_BY_VALUE[1], "WT": COLOURS_BY_VALUE[2], "ET": COLOURS_BY_VALUE[4]}


def show_labels(axes: Axes, labels: np.ndarray) -> None:
    """Lays a plane (H, W) of a label map (0, 1, 2, 4) over what the axes show."""
    ranks = np.select([labels == value for value in COLOURS_BY_VALUE], [1, 2, 3], 0)
    colours = ListedColormap(list(LABEL_COLOURS.values()))
    axes.imshow(np.ma.masked_equal(ranks, 0), cmap=colours, vmin=1, vmax=3, alpha=0.55, interpolation="nearest")


def to_png(figure: Figure) -> bytes:
    """Renders a figure."""
    png = io.BytesIO()
    figure.savefig(png, format="png")
    return png.getvalue()
