# SPDX-License-Identifier: Apache-2.0
"""The bundle in MONAI Label's own app for bundles, `monaibundle`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.label_app.running_server import needs_server
from tests.test_workflows import BUNDLE

pytestmark = [needs_server, pytest.mark.label]
# what the app does for each bundle of its folder, and for a client's request
STOCK = """
import json, sys
import scripts.label_app.sitecustomize
from monailabel.tasks.infer.bundle import BundleInferTask
task = BundleInferTask(sys.argv[1], {})
found = {"offered": task.config()["model_filename"]}
try:
    task._get_network("cpu", {"model_filename": "critic.pt"})
    found["critic"] = "loaded"
except RuntimeError as error:
    found["critic"] = str(error)
task._get_network("cpu", {"model_filename": task.config()["model_filename"]})
print(json.dumps(found))
"""


def test_it_offers_the_segmenters_weights_alone_and_refuses_the_critics() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", STOCK, str(BUNDLE)], capture_output=True, text=True, cwd=BUNDLE, timeout=300
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["offered"] == ["model.pt"]
    assert "Unexpected key" in found["critic"]
    assert sorted(file.name for file in Path(BUNDLE, "models").glob("*.pt")) == ["critic.pt", "model.pt"]
