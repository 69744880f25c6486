# SPDX-License-Identifier: Apache-2.0
"""Predictions of a segmenter that stands still, computed once, from which critics are trained afterwards."""

from __future__ import annotations

import copy
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from monai.bundle import ConfigParser
from torch import nn

from scripts.base.atomic_files import to_bytes
from scripts.base.errors import BundleError
from scripts.base.results import refuse_replacing, write_result
from scripts.base.weights import load_weights
from scripts.brats import Item
from scripts.method.vat import adversarial_direction

CONTRASTS, MISSING = 2, 2  # disturbed copies of each image
# image (modalities, H, W, D), logits and label (regions, H, W, D)
Record = dict[str, torch.Tensor]


class Predictions:
    """Predicts cases by a segmenter and keeps image, logits and label in files, which later calls read.

    Args:
        config: `configs/train.yaml`, which defines the network and the preprocessing.
        model: path of the segmenter's weights.
        folder: where the files are kept, in a folder of their own for these weights and this resolution.

    Raises:
        BundleError: if the weights do not fit the network.
    """

    def __init__(self, config: ConfigParser, model: str, *, folder: str) -> None:
        # a copy, for the config has one network, which several segmenters' weights would replace in turn
        self.segmenter = load_weights(copy.deepcopy(config.get_parsed_content("network")), model).eval()
        self.preprocess = config.get_parsed_content("validate#preprocessing")
        digest = hashlib.sha256(Path(model).read_bytes()).hexdigest()[:12]
        self.folder = Path(folder) / f"{digest}_{config['spacing']}mm"

    def of(self, items: Sequence[Item], *, disturbed: bool = False) -> list[Path]:
        """Returns the files of cases and, if `disturbed`, of copies of their images that are made harder."""
        kinds = ["clean"]
        if disturbed:
            kinds += [f"contrast{i}" for i in range(CONTRASTS)] + [f"missing{i}" for i in range(MISSING)] + ["vat"]
        return [path for item in items for path in self._predict(item, kinds)]

    def _predict(self, item: Item, kinds: Sequence[str]) -> list[Path]:
        paths = [self.folder / f"{item['case']}_{kind}.pt" for kind in kinds]
        if all(path.exists() for path in paths):
            return paths
        refuse_replacing(*paths)
        data = self.preprocess(item)
        image, label = (data[name].as_tensor().float()[None] for name in ("image", "label"))
        generator = torch.Generator().manual_seed(zlib.crc32(item["case"].encode()))
        for kind, path in zip(kinds, paths):
            seen = disturb(image, label, kind, segmenter=self.segmenter, generator=generator)
            with torch.no_grad():
                logits = self.segmenter(seen)
            record = {"image": (image if kind == "vat" else seen)[0].half(), "logits": logits[0].half()}
            write_result(path, to_bytes(record | {"label": label[0].to(torch.uint8)}))
        return paths


def disturb(
    image: torch.Tensor, label: torch.Tensor, kind: str, *, segmenter: nn.Module, generator: torch.Generator
) -> torch.Tensor:
    """Returns an image (1, 4, H, W, D) as it is, with other contrasts, a faint modality, or VAT's perturbation."""
    each = torch.rand(4, generator=generator).view(4, 1, 1, 1)
    if kind.startswith("contrast"):
        return image ** (2 * each - 1).exp()
    if kind.startswith("missing"):
        faint = torch.ones(4, 1, 1, 1)
        faint[each.argmax()] = max(0.0, 0.8 * float(torch.rand((), generator=generator)) - 0.3)
        return image * faint
    if kind == "vat":
        return image + adversarial_direction(segmenter, image, label, epsilon=0.05)
    return image


def read_records(paths: Sequence[Path]) -> list[Record]:
    """Reads files of predictions.

    Raises:
        BundleError: if one is no such file.
    """
    records = []
    for path in paths:
        try:
            record = torch.load(path, weights_only=True)
            records.append({name: record[name] for name in ("image", "logits", "label")})
        except Exception as error:  # damaged bytes make pickle raise almost any error
            raise BundleError(f"{path}: no predictions of this tool, or damaged; remove it and run again.") from error
    return records


class Patches:
    """Draws patches of 48 voxels along an edge, most of them around a true or predicted tumour.

    Args:
        records: predictions.
        seed: seed of the draws.
    """

    def __init__(self, records: Sequence[Record], *, seed: int, edge: int = 48) -> None:
        self.records, self.edge = records, edge
        self.generator = torch.Generator().manual_seed(seed)

    def batches(self, size: int = 2) -> Iterator[Record]:
        """Yields batches without end."""
        while True:
            drawn = [self._patch(self.records[self._below(len(self.records))]) for _ in range(size)]
            yield {key: torch.stack([patch[key] for patch in drawn]).float() for key in drawn[0]}

    def _patch(self, record: Record) -> Record:
        shape = record["label"].shape[1:]
        corner = [self._below(max(side - self.edge, 0) + 1) for side in shape]
        centres = ((record["label"][1] > 0) | (record["logits"][1] > 0)).nonzero()
        if len(centres) and self._below(6):
            centre = centres[self._below(len(centres))].tolist()
            drawn = [c - self._below(self.edge) for c in centre]
            corner = [min(max(c, 0), max(side - self.edge, 0)) for c, side in zip(drawn, shape)]
        box = (slice(None), *(slice(c, c + self.edge) for c in corner))
        axes = [axis for axis in (1, 2, 3) if self._below(2)]
        fill = {"image": 0, "logits": -8, "label": 0}
        return {key: _padded(record[key][box], self.edge, fill[key]).flip(axes) for key in fill}

    def _below(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self.generator))


def _padded(patch: torch.Tensor, edge: int, value: float) -> torch.Tensor:
    missing = [edge - side for side in reversed(patch.shape[1:])]
    return nn.functional.pad(patch, [length for side in missing for length in (0, side)], value=value)
