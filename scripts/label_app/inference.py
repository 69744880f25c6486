# SPDX-License-Identifier: Apache-2.0
"""Segmentation for MONAI Label's clients, alone or with what is known of its reliability."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monailabel.tasks.infer.basic_infer import CallBackTypes
from monailabel.tasks.infer.bundle import BundleInferTask
from torch.nn.utils import convert_conv3d_weight_memory_format

from scripts.base.weights import load_weights
from scripts.brats import NOT_FOR_DIAGNOSIS, TISSUE_VALUES, TISSUES
from scripts.data.item_files import hash_item
from scripts.label_app.confidence import review_metrics, uncertainty_map
from scripts.label_app.datastore import UNCERTAINTY, CaseDatastore
from scripts.label_app.history import digest_of, now

WEIGHTS = {"model_filename": "model.pt"}  # in place of any file of models/ that a request may name
COLOURS = {name: TISSUES[value].colour for name, value in TISSUE_VALUES.items()}


class SegmentationTask(BundleInferTask):
    """The bundle's own inference: a label map, and a JSON with the names and colours of its values."""

    network: torch.nn.Module

    def __init__(self, path: str, conf: dict[str, str]) -> None:
        super().__init__(path, conf, type="segmentation")
        self.labels = TISSUE_VALUES
        # as in the config, which MONAI Label passes by
        convert_conv3d_weight_memory_format(self.network, torch.channels_last_3d)

    def __call__(self, request: dict[str, Any], callbacks: dict[Any, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Segments the image of a request."""
        names: dict[str, int] = {}
        also = (callbacks or {}).get(CallBackTypes.POST_TRANSFORMS, lambda data: data)

        def name(data: dict[str, Any]) -> dict[str, Any]:
            names.update(names_in(_array(data["pred"])))
            return also(data)

        asked = {"result_extension": ".nii.gz"} | request | WEIGHTS
        file, params = super().__call__(asked, {**(callbacks or {}), CallBackTypes.POST_TRANSFORMS: name})
        colours = {name: COLOURS[name] for name in names}
        return file, params | {"label_names": names, "label_colours": colours, "note": NOT_FOR_DIAGNOSIS}


class ConfidenceTask(SegmentationTask):
    """The same with its metrics in the JSON; segmentation and uncertainty of a case are kept in the datastore.

    Args:
        path: of the bundle.
        conf: of the server.
        datastore: keeps the results of its cases.
    """

    def __init__(self, path: str, conf: dict[str, str], *, datastore: CaseDatastore) -> None:
        super().__init__(path, conf)
        self.datastore = datastore
        self.description = "The segmentation, how uncertain it is, and the slice to look at first"

    def __call__(self, request: dict[str, Any], callbacks: dict[Any, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Segments the image of a request and judges the segmentation."""
        metrics: dict[str, Any] = {}

        def judge(data: dict[str, Any]) -> dict[str, Any]:
            confidence, affine = _array(data["confidence"]), np.asarray(data["image"].meta["original_affine"])
            spacing = np.linalg.norm(affine[:3, :3], axis=0).tolist()
            probabilities = _array(data["probabilities"])
            labels = _array(data["pred"]).reshape(confidence.shape[1:]).astype(np.uint8)
            metrics.update(review_metrics(labels, probabilities, confidence, spacing=spacing))
            if case := request.get("case"):
                about: dict[str, Any] = {
                    "stamp": self.stamp(case),
                    "at": now(),
                    "metrics": dict(metrics),
                    "voxels": digest_of(labels),
                    "params": {"label_names": names_in(labels)},
                }
                about["look_at"] = _middle(labels, metrics["slice"], affine)
                doubt = uncertainty_map(labels, probabilities, spacing=spacing)
                self.datastore.save_segmentation(case, labels, doubt, affine, about=about)
                metrics["overlay_tag"] = UNCERTAINTY
            return data

        file, params = super().__call__(request, {**(callbacks or {}), CallBackTypes.POST_TRANSFORMS: judge})
        return file, params | metrics

    def stamp(self, case: str) -> str:
        """Returns what tells one state of a case's scans and of the weights from another."""
        return f"{weights_stamp(self.bundle_path)}-{hash_item(self.datastore.item(case)).decode()}"

    def post_transforms(self, data: Any = None) -> Sequence[Callable]:
        """Returns the bundle's postprocessing, with the critic's weights as they now are."""
        transforms = super().post_transforms(data)
        load_weights(
            self.bundle_config.get_parsed_content("critic"), str(Path(self.bundle_path, "models", "critic.pt"))
        )
        return transforms

    def _load_bundle_config(self, path: str, config: str) -> ConfigParser:
        parser = super()._load_bundle_config(path, config)
        parser["confidence"] = True
        return parser


def names_in(labels: np.ndarray) -> dict[str, int]:
    """Returns the tissues in a label map, by value: 3D Slicer gives the n-th name to the n-th value that it finds."""
    return {name: value for name, value in TISSUE_VALUES.items() if (labels == value).any()}


def weights_stamp(path: str) -> int:
    """Tells one state of the bundle's weights from another: when they last changed, in ns."""
    return max(os.stat(Path(path, "models", name)).st_mtime_ns for name in ("model.pt", "critic.pt"))


def _middle(labels: np.ndarray, first: dict[str, int] | None, affine: np.ndarray) -> list[float] | None:
    """Returns the place (mm) in the slice to look at first that is in the middle of what is labelled there."""
    if first is None:
        return None
    drawn = np.argwhere(labels[:, :, first["index"]])
    middle = drawn.mean(axis=0).round() if len(drawn) else np.array(labels.shape[:2]) // 2
    return (affine @ [*middle, first["index"], 1])[:3].tolist()


def _array(volume: torch.Tensor) -> np.ndarray:
    return torch.as_tensor(volume).as_subclass(torch.Tensor).cpu().numpy()
