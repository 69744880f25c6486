# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow
from monailabel.tasks.train.bundle import BundleTrainTask
from monailabel.utils.others.generic import device_list

from scripts.base.errors import BundleError
from scripts.base.weights import load_weights
from scripts.label_app.datastore import CaseDatastore
from scripts.label_app.expressions import refuse_expressions

NETWORKS = {"model": "network", "critic": "critic"}


class FineTuning(BundleTrainTask):
    """Goes on training with the reviewed cases, by configs/finetune.yaml over the bundle's train.yaml.

    From the cases that nobody has reviewed yet it learns by virtual adversarial training, which needs no label.

    The weights that are served change only when the validation is better than theirs; those are kept as
    `<name>.previous.pt`.
    """

    def __call__(self, request: dict[str, Any], datastore: CaseDatastore) -> Any:
        """Trains as a request asks.

        Raises:
            BundleError: when it holds text that a config would evaluate.
        """
        refuse_expressions(request)
        return super().__call__(request, datastore)

    def config(self) -> dict[str, Any]:
        """Gives what a client may choose."""
        return {"device": device_list(), "max_epochs": 20, "val_split": 0.2}

    def _fetch_datalist(self, request: dict[str, Any], datastore: CaseDatastore) -> list[dict[str, Any]]:
        self.unlabelled = datastore.unlabelled()
        return super()._fetch_datalist(request, datastore)

    def _update_overrides(self, overrides: dict[str, Any]) -> None:
        overrides["unlabelled#items"] = self.unlabelled

    def run_single_gpu(self, request: dict[str, Any], overrides: dict[str, Any]) -> None:
        """Validates the served weights, trains, and serves what is better.

        Raises:
            BundleError: when fewer than two cases are reviewed, or the split leaves none on a side.
        """
        sides = {"train": overrides["train#dataset#data"], "validate with": overrides["validate#dataset#data"]}
        if empty := [name for name, items in sides.items() if not items]:
            found = sum(map(len, sides.values()))
            raise BundleError(f"{found} reviewed cases, none to {empty[0]}; review more, or choose another val_split")
        output = Path(self.bundle_path, "output", "finetune")
        folders = {"ckpt_dir": str(output / "models"), "output_dir": str(output), "epochs": request["max_epochs"]}
        workflow = ConfigWorkflow(
            config_file=[self.bundle_config_path, str(Path(self.bundle_config_path).with_name("finetune.yaml"))],
            meta_file=self.bundle_metadata_path,
            workflow_type="train",
            **overrides | folders,
        )
        workflow.initialize()
        for name, network in NETWORKS.items():
            load_weights(workflow.parser.get_parsed_content(network), f"{self.bundle_path}/models/{name}.pt")
        validator = workflow.parser.get_parsed_content("validate#evaluator")
        trainer = workflow.parser.get_parsed_content("train#trainer")
        validator.run()
        served = validator.state.best_metric
        validator.state.best_metric_epoch = 0  # else an epoch 1 that is no better would pass for the best
        trainer.run()
        best = validator.state.best_metric
        better = best > served
        print(f"mean Dice {served:.3f} before, {best:.3f} at best: {'' if better else 'not '}served")
        if better:
            for name in NETWORKS:
                _serve(output / "models" / f"{name}.pt", Path(self.bundle_path, "models", f"{name}.pt"))


def _serve(found: Path, served: Path) -> None:
    shutil.copy2(served, served.with_suffix(".previous.pt"))
    shutil.copy(found, served.with_suffix(".pt.partial"))
    os.replace(served.with_suffix(".pt.partial"), served)
