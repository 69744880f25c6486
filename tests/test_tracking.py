# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.data.phantoms import make_cohort
from tests.test_workflows import SMALL, TRAIN, run_bundle


def test_mlflow_gets_settings_losses_dice_and_weights(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking", reason="MLflow is not installed: requirements-mlflow.txt")
    cohort = make_cohort(tmp_path / "phantoms", cases=4, shape=(48, 48, 40))
    places = {"dataset_dir": cohort, "output_dir": tmp_path / "out", "ckpt_dir": tmp_path / "models"}
    result = run_bundle(
        "training",
        TRAIN,
        tracking="configs/mlflow.yaml",
        cache_dir=tmp_path / "cache",
        epochs=2,
        val_interval=1,
        vat_start=0,
        critic_start=0,
        **places,
        **SMALL,
    )
    assert result.returncode == 0, result.stderr
    client = tracking.MlflowClient(f"sqlite:///{tmp_path / 'out' / 'mlruns.db'}")
    experiment = client.get_experiment_by_name("brats_mri_reciprocal_segmentation")
    (run,) = client.search_runs(experiment.experiment_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["lambda_vat"] == "0.2"
    terms = {"loss", "dice_loss", "vat_loss", "adversarial_loss", "critic_loss"}
    assert terms | {"mean_dice"} <= run.data.metrics.keys()
    for name in ("mean_dice", "dice"):  # of two validations, and of the best weights
        assert [point.step for point in client.get_metric_history(run.info.run_id, name)] == [1, 2, 2]
    artifacts = {artifact.path for artifact in client.list_artifacts(run.info.run_id)}
    assert {"model.pt", "critic.pt", "case.png", "curves.png", "per_case.csv", "summary.md"} <= artifacts
