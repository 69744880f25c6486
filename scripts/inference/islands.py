# SPDX-License-Identifier: Apache-2.0
"""Islands of a segmentation, and how likely each of them is a tumour."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.config import KeysCollection, PathLike
from monai.data import MetaTensor
from monai.engines import Evaluator
from monai.transforms import MapTransform
from scipy import ndimage
from scipy.special import expit, logit

from scripts.base.text_files import write_json
from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS
from scripts.data.missing import what_is_missing
from scripts.data.transforms import MISSING

# Log-odds that an island is a tumour, of 1, logit of its mean confidence, log of its ml and log of 1 + its mm to the
# largest component. The mean confidence alone does not tell: an island is certain in its middle, true or false.
# Fitted by scripts.tools.island_odds (docs/critic.md); below DOUBTED were a tenth of the true islands there.
ODDS = (0.15, 1.51, 0.43, -0.75)
DOUBTED = 0.16


class ListIslandsd(MapTransform):
    """Lists the islands of each region, with size, place and probability, and removes those that are held wrong.

    An island is a 26-connected component of a region, except the largest one, which is never removed.

    Args:
        keys: keys of binary regions TC, WT, ET (3, H, W, D).
        confidence_key: key of the critic's confidence (3, H, W, D) in them.
        label_key: key of the true regions (3, H, W, D), which an item may lack.
        output_key: key of the list, whose entries have `region`, `volume_ml`, `centre_mm` (in the space of the affine),
            `distance_mm` to the largest component, `confidence`, the mean over the island, `probability`, that a part
            of it is true, and, with a label, `true_share`, the part of its voxels that is.
        remove_doubted: whether islands with a probability below `DOUBTED` are removed.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        confidence_key: str = "confidence",
        label_key: str = "label",
        output_key: str = "islands",
        remove_doubted: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.confidence_key = confidence_key
        self.label_key = label_key
        self.output_key = output_key
        self.remove_doubted = remove_doubted

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            regions = item[key].clone()
            affine = regions.affine.cpu().numpy() if isinstance(regions, MetaTensor) else np.eye(4)
            confidence = torch.as_tensor(item[self.confidence_key]).cpu().numpy()
            label = item.get(self.label_key)
            truths = (label.cpu().numpy() > 0.5) if isinstance(label, torch.Tensor) else [None] * len(REGIONS)
            islands: list[dict[str, Any]] = []
            for name, region, certain, truth in zip(REGIONS, regions, confidence, truths):
                for island, voxels in describe_islands(region.cpu().numpy() > 0.5, certain, affine, truth):
                    islands.append({"region": name, **island})
                    if self.remove_doubted and island["probability"] < DOUBTED:
                        region[tuple(torch.as_tensor(axis, device=region.device) for axis in voxels)] = 0
            item[key], item[self.output_key] = regions, islands
        return item


class SaveIslandsHandler:
    """Handler of a MONAI evaluator that writes each case's `islands` to `<case>_islands.json`.

    What the case lacked is written as `missing`.

    Args:
        output_dir: folder of the files.
    """

    def __init__(self, output_dir: PathLike) -> None:
        self.output_dir = Path(output_dir)

    def results_of(self, cases: Sequence[str]) -> list[Path]:
        """Returns the paths of the files of cases."""
        return [self.output_dir / f"{case}_islands.json" for case in cases]

    def attach(self, engine: Evaluator) -> None:
        """Registers the handler on an evaluator."""
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine: Evaluator) -> None:
        """Writes the islands of the cases that have just been segmented."""
        for item, output in zip(engine.state.batch, engine.state.output):
            record = {"note": NOT_FOR_DIAGNOSIS, "islands": output["islands"]}
            image = item.get("image")
            if isinstance(image, MetaTensor) and image.meta.get(MISSING):
                record["missing"] = what_is_missing(image.meta[MISSING].split(", "))
            write_json(self.results_of([str(item["case"])])[0], record)


def describe_islands(
    region: np.ndarray, confidence: np.ndarray, affine: np.ndarray, truth: np.ndarray | None = None
) -> Iterator[tuple[dict[str, Any], tuple[np.ndarray, ...]]]:
    """Yields all components of a region but the largest: what is listed of each, and its voxels."""
    if not region.any():
        return
    [cut] = ndimage.find_objects(region.astype(np.uint8))  # all components: distances of a whole image cost more
    components, count = ndimage.label(region[cut], np.ones((3, 3, 3)))
    if count < 2:
        return
    sizes = np.bincount(components.ravel())[1:]
    largest = int(sizes.argmax()) + 1
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    distance = ndimage.distance_transform_edt(components != largest, sampling=spacing)
    for number, box in enumerate(ndimage.find_objects(components), start=1):
        if number == largest:
            continue
        inside = np.nonzero(components[box] == number)
        in_cut = tuple(axis + side.start for axis, side in zip(inside, box))
        voxels = tuple(axis + side.start for axis, side in zip(in_cut, cut))
        centre = affine[:3, :3] @ np.mean(voxels, axis=1) + affine[:3, 3]
        found = {
            "volume_ml": float(sizes[number - 1] * spacing.prod() / 1000),
            "distance_mm": float(distance[in_cut].min()),
            "confidence": float(confidence[voxels].mean()),
        }
        found["probability"] = float(expit(np.dot(ODDS, evidence(found))))
        if truth is not None:
            found["true_share"] = float(truth[voxels].mean())
        rounded = {name: round(value, 3) for name, value in found.items()}
        yield rounded | {"centre_mm": [round(float(c), 1) for c in centre]}, voxels


def evidence(island: Mapping[str, float]) -> list[float]:
    """Returns what speaks for an island, in the order of `ODDS`."""
    confidence = np.clip(island["confidence"], 0.001, 0.999)
    return [1.0, float(logit(confidence)), math.log(island["volume_ml"]), math.log1p(island["distance_mm"])]
