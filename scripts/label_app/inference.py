# SPDX-License-Identifier: Apache-2.0

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
from scripts.label_app.confidence import overlay, review_metrics
from scripts.label_app.datastore import CaseDatastore

COLOURS = {name: TISSUES[value].colour for name, value in TISSUE_VALUES.items()}


class SegmentationTask(BundleInferTask):
    """The bundle's own inference: a label map, and a JSON with the names and colours of its values."""

    network: torch.nn.Module

    def __init__(self, path: str, conf: dict[str, str]) -> None:
        super().__init__(path, conf, type="segmentation")
        self.labels = TISSUE_VALUES
        # as in the config, which MONAI Label passes by
        convert_conv3d_weight_memory_format(self.network, torch.channels_last_3d)
        self._config.pop("model_filename")  # it offers the critic's weights for the segmenter

    def __call__(self, request: dict[str, Any], callbacks: dict[Any, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Segments the image of a request."""
        file, params = super().__call__({"result_extension": ".nii.gz"} | request, callbacks)
        return file, params | {"label_colours": COLOURS, "note": NOT_FOR_DIAGNOSIS}


class ConfidenceTask(SegmentationTask):
    """The same with the critic's judgement: its metrics in the JSON, its map in the datastore as tag `confidence`.

    Args:
        path: of the bundle.
        conf: of the server.
        datastore: that keeps the maps of its cases.
    """

    def __init__(self, path: str, conf: dict[str, str], *, datastore: CaseDatastore) -> None:
        super().__init__(path, conf)
        self.datastore = datastore
        self.description = "The segmentation, the critic's confidence in it, and the slice that most needs a look"

    def __call__(self, request: dict[str, Any], callbacks: dict[Any, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Segments the image of a request and judges the segmentation."""
        metrics: dict[str, Any] = {}

        def judge(data: dict[str, Any]) -> dict[str, Any]:
            confidence, affine = _array(data["confidence"]), np.asarray(data["image"].meta["original_affine"])
            spacing = np.linalg.norm(affine[:3, :3], axis=0)
            labels = _array(data["pred"]).reshape(confidence.shape[1:])
            metrics.update(review_metrics(labels, _array(data["probabilities"]), confidence, spacing=spacing.tolist()))
            if case := request.get("case"):
                metrics["overlay_tag"] = self.datastore.save_overlay(case, overlay(confidence), affine)
            return data

        file, params = super().__call__(request, {**(callbacks or {}), CallBackTypes.POST_TRANSFORMS: judge})
        return file, params | metrics

    def post_transforms(self, data: Any = None) -> Sequence[Callable]:
        """Gives the bundle's postprocessing, with the critic as its weights now are."""
        transforms = super().post_transforms(data)
        load_weights(
            self.bundle_config.get_parsed_content("critic"), str(Path(self.bundle_path, "models", "critic.pt"))
        )
        return transforms

    def _load_bundle_config(self, path: str, config: str) -> ConfigParser:
        parser = super()._load_bundle_config(path, config)
        parser["confidence"] = True
        return parser


def weights_stamp(path: str) -> int:
    """Tells one state of the bundle's weights from another: when they last changed, in ns."""
    return max(os.stat(Path(path, "models", name)).st_mtime_ns for name in ("model.pt", "critic.pt"))


def _array(volume: torch.Tensor) -> np.ndarray:
    return torch.as_tensor(volume).as_subclass(torch.Tensor).cpu().numpy()
