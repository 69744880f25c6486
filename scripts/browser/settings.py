# SPDX-License-Identifier: Apache-2.0
"""What the page needs to know of Python's side: names, limits and settings, written as a module of JavaScript."""

from __future__ import annotations

import json
from typing import Any

from monai.bundle import ConfigParser

from scripts import brats
from scripts.base.settings import HALVINGS
from scripts.data import background, checks, file_names, headers
from scripts.data.predictions import MARK
from scripts.data.transforms import ScaleBrainIntensityd
from scripts.evaluation.reliability.expected_dice import COVERAGE


def settings_module(config: ConfigParser) -> str:
    """Returns the text of the page's `settings.js`.

    Args:
        config: the parsed inference.yaml.
    """
    exports = page_settings(config)
    lines = [f"export const {name} = {json.dumps(value, ensure_ascii=False)};" for name, value in exports.items()]
    return "// Written by scripts/browser/settings.py.\n" + "\n".join(lines) + "\n"


def page_settings(config: ConfigParser) -> dict[str, Any]:
    """Returns what the page's `settings.js` exports, by name."""
    steps = {step["_target_"]: step for step in config["image_preprocessing"]["transforms"]}
    scaling = ScaleBrainIntensityd("image")
    return {
        "MODALITIES": brats.MODALITIES,
        "MSD_CHANNELS": brats.MSD_CHANNELS,
        "TISSUES": {value: tissue._asdict() for value, tissue in brats.TISSUES.items()},
        "REGION_ORDER": brats.REGIONS,
        "REGION_NAMES": brats.REGION_NAMES,
        "REGION_VALUES": brats.REGION_VALUES,
        "TISSUE_OF_REGION": own_tissues(),
        "NOT_FOR_DIAGNOSIS": brats.NOT_FOR_DIAGNOSIS,
        "MARK": MARK,
        "KINDS": file_names.KINDS,
        "LABEL": file_names.LABEL,
        "PATTERNS": {
            "volume": _to_javascript(file_names.VOLUME.pattern),
            "bids": _to_javascript(file_names.BIDS.pattern),
            "suffix": file_names.SUFFIX.pattern,
        },
        "CHECKS": {
            **_constants(headers, "MAX_AXIS MAX_VOXELS MAX_EXTENT MIN_SPACING MAX_CODE AFFINE_TOLERANCE UNITS"),
            **_constants(checks, "GRID_TOLERANCE"),
        },
        "BACKGROUND": _constants(
            background,
            "CORNER LEAST_BACKGROUND CONSTANT NOISE TOLERANCE RINGING EDGE LARGEST_BRAIN LEAST_HEAD DIP SAMPLES STRIP",
        ),
        "PERCENTILES": [scaling.lower, scaling.upper],
        "CROP_MARGIN": steps["CropForegroundd"]["margin"],
        "SPACING": config["spacing"],
        "HALVINGS": HALVINGS,
        "MAX_WHOLE_BRAIN_VOXELS": config["max_whole_brain_voxels"],
        "PATCH_SIZE": config["patch_size"],
        "COVERAGE": COVERAGE,
    }


def own_tissues() -> dict[str, int]:
    """Returns the tissue that each region has for itself, from the outermost region, which is drawn first, inwards."""
    regions = sorted(brats.REGION_VALUES.items(), key=lambda region: -len(region[1]))
    inner = [set(values) for _, values in regions[1:]] + [set()]
    return {name: (set(values) - within).pop() for (name, values), within in zip(regions, inner)}


def _constants(module: Any, names: str) -> dict[str, Any]:
    return {name: getattr(module, name) for name in names.split()}


def _to_javascript(pattern: str) -> str:
    return pattern.replace("(?P<", "(?<")
