# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

from monai.bundle import ConfigParser

from scripts.browser.settings import own_tissues, page_settings, settings_module

BUNDLE = Path(__file__).parents[2]


def read_config() -> ConfigParser:
    config = ConfigParser()
    config.read_config(str(BUNDLE / "configs" / "inference.yaml"))
    return config


def test_each_line_of_the_module_exports_one_setting_as_json() -> None:
    config = read_config()
    comment, *lines = settings_module(config).splitlines()
    assert comment.startswith("// Written by")
    exported = {}
    for line in lines:
        name, value = line.removeprefix("export const ").removesuffix(";").split(" = ", maxsplit=1)
        exported[name] = json.loads(value)
    assert exported == json.loads(json.dumps(page_settings(config)))
    assert (exported["SPACING"], exported["PERCENTILES"]) == (config["spacing"], [1, 99])


def test_named_groups_are_written_as_in_javascript() -> None:
    patterns = page_settings(read_config())["PATTERNS"]
    assert "(?<" in patterns["volume"] + patterns["bids"]
    assert not any("(?P<" in pattern for pattern in patterns.values())


def test_each_region_is_drawn_in_the_tissue_that_it_alone_has_outermost_first() -> None:
    assert list(own_tissues().items()) == [("WT", 2), ("TC", 1), ("ET", 4)]
