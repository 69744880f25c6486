# SPDX-License-Identifier: Apache-2.0
"""Colours of tissues are told apart, on any grey and by colour-blind people too."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from scripts.brats import TISSUES

# Machado, Oliveira and Fernandes, IEEE Trans. Vis. Comput. Graph. 15 (2009), severity 1, on linear RGB
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
OPACITY = 0.45  # at which the review page and the report draw labels over a scan
GREYS = np.linspace(0, 1, 21)
# CIE76 differences: 2.3 is just noticeable (Mahy et al. 1994); these are several times that
APART = 15.0
FROM_GREY = 10.0


def to_lab(colour: np.ndarray, vision: str) -> np.ndarray:
    """CIE L*a*b* (D65) of an sRGB colour as somebody sees it."""
    linear = np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.asarray(VISION[vision]) @ linear, 0, 1)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.119192, 0.9503041]]
    )
    ratio = to_xyz @ seen / np.array([0.95047, 1, 1.08883])
    x, y, z = np.where(ratio > 216 / 24389, np.cbrt(ratio), (24389 / 27 * ratio + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def over(colour: str, grey: float) -> np.ndarray:
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return OPACITY * rgb + (1 - OPACITY) * grey


@pytest.mark.parametrize("vision", VISION)
def test_tissues_are_told_apart_from_each_other_and_from_the_scan(vision: str) -> None:
    colours = [tissue.colour for tissue in TISSUES.values()]
    pairs = itertools.combinations(colours, 2)
    apart = [np.linalg.norm(to_lab(over(a, g), vision) - to_lab(over(b, g), vision)) for a, b in pairs for g in GREYS]
    assert min(apart) > APART
    greys = [to_lab(np.full(3, grey), vision) for grey in GREYS]
    for colour, under in itertools.product(colours, GREYS):
        seen = to_lab(over(colour, under), vision)
        assert min(np.linalg.norm(seen - grey) for grey in greys) > FROM_GREY, (colour, under)
