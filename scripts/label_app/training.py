# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning with the reviewed cases."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monailabel.tasks.train.bundle import BundleTrainTask
from monailabel.utils.others.generic import device_list

from scripts.base.atomic_files import write_atomically
from scripts.base.errors import BundleError
from scripts.base.results import set_aside
from scripts.base.weights import load_weights
from scripts.label_app.datastore import CaseDatastore
from scripts.label_app.expressions import refuse_expressions
from scripts.label_app.inference import WEIGHTS

NETWORKS = {"model": "network", "critic": "critic"}
FEW = 5  # validated cases below which a verdict says little


class FineTuning(BundleTrainTask):
    """Continues training with the reviewed cases, by configs/finetune.yaml over the bundle's train.yaml.

    From the cases that wait for a review it learns by virtual adversarial training, which needs no label. The weights
    that are served change only when the validation is better than theirs; those are kept as `<name>.previous.pt`,
    or `<name>.previous-2.pt` and so on where there is one.
    `progress` tells how far it is, from any process.
    """

    def __call__(self, request: dict[str, Any], datastore: CaseDatastore) -> Any:
        """Trains as a request asks.

        Raises:
            BundleError: when it holds text that a config would evaluate, or too few cases are reviewed.
        """
        refuse_expressions(request)
        self._tell(state="starting")
        try:
            return super().__call__(request | WEIGHTS, datastore)
        except BundleError as error:
            self._tell(state="failed", message=str(error))
            raise

    @property
    def folder(self) -> Path:
        """Folder of what a training writes before it is served."""
        return Path(self.bundle_path, "output", "finetune")

    def progress(self) -> dict[str, Any]:
        """Returns what the newest training said last: `state`, and what belongs to it."""
        place = self.folder / "progress.json"
        return json.loads(place.read_text()) if place.exists() else {}

    def config(self) -> dict[str, Any]:
        """Returns what a client may choose."""
        return {"device": device_list(), "max_epochs": 20, "val_split": 0.2}

    def _fetch_datalist(self, request: dict[str, Any], datastore: CaseDatastore) -> list[dict[str, Any]]:
        self.unlabelled = datastore.unlabelled()
        self.cases = {datastore.get_label_uri(case, "final"): case for case in datastore.get_labeled_images()}
        return super()._fetch_datalist(request, datastore)

    def _partition_datalist(
        self, datalist: list[dict[str, Any]], request: dict[str, Any], shuffle: bool = False
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
        """Splits the reviewed cases so that of two or more at least one trains and one validates."""
        split, one = request.get("val_split", self.config()["val_split"]), 1 / max(2, len(datalist))
        if split > 0:
            request = request | {"val_split": min(max(split, one), 1 - one)}
        return super()._partition_datalist(datalist, request, shuffle)

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
        judged = [self.cases[item["label"]] for item in sides["validate with"]]
        epochs = request["max_epochs"]
        folders = {"ckpt_dir": str(self.folder / "models"), "output_dir": str(self.folder), "epochs": epochs}
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
        self._tell(state="validating the weights that are served", epochs=epochs)
        validator.run()
        served, before = validator.state.best_metric, _dice_of(validator)
        validator.state.best_metric_epoch = 0  # else an epoch 1 that is no better would pass for the best
        after: dict[float, list[float]] = {}
        validator.add_event_handler(Events.COMPLETED, lambda: after.update({_mean(validator): _dice_of(validator)}))
        trainer.add_event_handler(
            Events.EPOCH_STARTED, lambda: self._tell(state="training", epoch=trainer.state.epoch, epochs=epochs)
        )
        workflow.parser.get_parsed_content("train#run_state").attach(trainer)
        trainer.run()
        best = validator.state.best_metric
        better = best > served
        if better:
            for name in NETWORKS:
                _serve(self.folder / "models" / f"{name}.pt", Path(self.bundle_path, "models", f"{name}.pt"))
        cases = [
            {"case": case, "before": old, "after": new} for case, old, new in zip(judged, before, after[max(after)])
        ]
        self._tell(state="done", better=better, before=served, after=max(after), cases=cases, few=len(cases) < FEW)
        print(f"mean Dice {served:.3f} before, {max(after):.3f} at best: {'' if better else 'not '}served")

    def _tell(self, **news: Any) -> None:
        write_atomically(self.folder / "progress.json", json.dumps(news).encode())


def _mean(validator: Any) -> float:
    return float(validator.state.metrics[validator.state.key_metric_name])


def _dice_of(validator: Any) -> list[float]:
    """Returns the mean Dice over the regions of each validated case."""
    return [float(row) for row in validator.state.metric_details[validator.state.key_metric_name].nanmean(dim=1)]


def _serve(found: Path, served: Path) -> None:
    """Replaces the served weights, which are kept beside every file that was kept before."""
    kept = served.with_suffix(".pt.partial")
    shutil.copy2(served, kept)
    set_aside(kept, f"{served.stem}.previous.pt")
    write_atomically(served, found.read_bytes())
