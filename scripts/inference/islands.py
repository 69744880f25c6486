# SPDX-License-Identifier: Apache-2.0
"""Islands of a segmentation, and how confident the critic is that each of them is a tumour."""

from __future__ import annotations

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

from scripts.base.text_files import write_json
from scripts.brats import NOT_FOR_DIAGNOSIS, REGIONS

# below it, the critic holds an island wrong
DOUBTED = 0.5


class ListIslandsd(MapTransform):
    """Lists the islands of each region, with their size, place and confidence, and removes those that are held wrong.

    An island is a 26-connected component of a region, except the largest one, which is never removed.

    Args:
        keys: keys of binary regions TC, WT, ET (3, H, W, D).
        confidence_key: key of the critic's confidence (3, H, W, D) in them.
        output_key: key of the list, whose entries have `region`, `volume_ml`, `centre_mm` (in the space of the affine)
            and `confidence`, the mean over the island.
        remove_doubted: whether islands with a confidence below 0.5 are removed.
    """

    def __init__(
        self,
        keys: KeysCollection,
        *,
        confidence_key: str = "confidence",
        output_key: str = "islands",
        remove_doubted: bool = False,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.confidence_key = confidence_key
        self.output_key = output_key
        self.remove_doubted = remove_doubted

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        item = dict(data)
        for key in self.key_iterator(item):
            regions = item[key].clone()
            affine = regions.affine.cpu().numpy() if isinstance(regions, MetaTensor) else np.eye(4)
            confidence = torch.as_tensor(item[self.confidence_key]).cpu().numpy()
            islands: list[dict[str, Any]] = []
            for name, region, certain in zip(REGIONS, regions, confidence):
                for island, voxels in _islands(region.cpu().numpy() > 0.5, certain, affine):
                    islands.append({"region": name, **island})
                    if self.remove_doubted and island["confidence"] < DOUBTED:
                        region[tuple(torch.as_tensor(axis, device=region.device) for axis in voxels)] = 0
            item[key], item[self.output_key] = regions, islands
        return item


class SaveIslandsHandler:
    """Handler of a MONAI evaluator that writes each case's `islands` to `<case>_islands.json`.

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
            write_json(self.results_of([str(item["case"])])[0], record)


def _islands(
    region: np.ndarray, confidence: np.ndarray, affine: np.ndarray
) -> Iterator[tuple[dict[str, Any], tuple[np.ndarray, ...]]]:
    """Yields all components of a region but the largest: what is listed of each, and its voxels."""
    components, count = ndimage.label(region, np.ones((3, 3, 3)))
    sizes = np.bincount(components.ravel(), minlength=count + 1)[1:]
    millilitres = abs(np.linalg.det(affine[:3, :3])) / 1000
    for index, box in enumerate(ndimage.find_objects(components)):
        if index == sizes.argmax():
            continue
        corner = [side.start for side in box]
        voxels = tuple(axis + start for axis, start in zip(np.nonzero(components[box] == index + 1), corner))
        centre = affine[:3, :3] @ np.mean(voxels, axis=1) + affine[:3, 3]
        yield (
            {
                "volume_ml": round(float(sizes[index] * millilitres), 3),
                "centre_mm": [round(float(c), 1) for c in centre],
                "confidence": round(float(confidence[voxels].mean()), 3),
            },
            voxels,
        )
