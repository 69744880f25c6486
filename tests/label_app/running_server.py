# SPDX-License-Identifier: Apache-2.0
"""A real review server, on a free port of this machine."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.utils import optional_import

from scripts.label_app.uploads import mark_of
from tests.test_workflows import BUNDLE

_, installed = optional_import("monailabel")
needs_server = pytest.mark.skipif(not installed, reason="MONAI Label is not installed: requirements-label.txt")


class Server:
    """A server on copies of the bundle and of some cases.

    Args:
        folder: holds `studies`, and gets what the server writes.
        scoring: whether it segments all cases in the background.
        environment: settings of MONAI Label.
    """

    def __init__(self, folder: Path, *, scoring: bool = False, environment: dict[str, str] | None = None) -> None:
        from monailabel.client.client import MONAILabelClient

        self.folder, self.studies, self.bundle = folder, folder / "studies", folder / "bundle"
        self.work, self.scoring, self.environment = folder / "work", scoring, environment or {}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        for name in ("configs", "scripts", "models"):
            shutil.copytree(BUNDLE / name, self.bundle / name)
        (folder / "client").mkdir(exist_ok=True)
        self.url = f"http://127.0.0.1:{self.port}"
        self.client = MONAILabelClient(self.url, tmpdir=str(folder / "client"))
        self.start()

    def start(self) -> None:
        options = {"studies": self.studies, "port": self.port, "work": self.work, "bundle": self.bundle}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        command = [sys.executable, "-m", "scripts.label_app", *words, *([] if self.scoring else ["--no-scoring"])]
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | self.environment
        with (self.folder / "server.out").open("a") as log:
            self.process = subprocess.Popen(command, cwd=BUNDLE, env=environment, stdout=log, stderr=log)
        import requests

        for _ in range(480):
            try:
                requests.get(f"{self.url}/review/", timeout=30)
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "server.out").read_text()[-3000:]
                time.sleep(0.5)
        raise AssertionError("the server does not answer")

    def stop(self) -> None:
        import requests

        for method in ("train", "scoring"):
            requests.delete(f"{self.url}/{method}/", timeout=30)
        self.process.kill()
        self.process.wait()

    def get(self, path: str, **options: Any) -> Any:
        import requests

        return requests.get(f"{self.url}/{path}", timeout=120, **options)

    def details(self, case: str) -> dict[str, Any]:
        return self.get(f"review/cases/{case}").json()

    def listed(self) -> dict[str, dict[str, Any]]:
        return {line["case"]: line for line in self.get("review/cases").json()["cases"]}

    def infer(self, model: str, image: str, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
        file, params = self.client.infer(model, image, {}, **options)
        return voxels(file), params

    def message(self, model: str, image: str) -> str:
        from monailabel.client.client import MONAILabelClientException

        with pytest.raises(MONAILabelClientException) as caught:
            self.client.infer(model, image, {})
        return caught.value.msg

    def put(self, case: str, drawing: np.ndarray, *, what: str = "label", **query: Any) -> Any:
        """Sends a drawing as the page does."""
        import requests

        grid = self.details(case)["grid"]
        content = drawing_file(drawing, np.array(grid["affine"]), case)
        query = {"based_on": 0, "by": "Dr. A"} | query
        return requests.put(f"{self.url}/review/cases/{case}/{what}", params=query, data=content, timeout=60)

    def approve(self, case: str, labels: np.ndarray) -> Any:
        """Approves a label map that lies on the axes of the case's files."""
        from scripts.label_app.volumes import for_viewer

        scan: Any = nib.load(next((self.studies / case).glob("*t1.nii*")))
        drawn = nib.Nifti1Image.from_bytes(for_viewer(labels.astype(np.uint8), scan.affine))
        newest = self.details(case)["versions"]
        based_on = newest[-1]["version"] if newest else 0
        answer = self.put(case, np.asarray(drawn.dataobj), what="decision/reviewed", based_on=based_on)
        assert answer.ok, answer.text
        return answer.json()

    def wait_for(self, method: str) -> dict[str, Any]:
        for _ in range(1200):
            task = self.get(f"{method}/").json()
            if task["status"] not in ("SUBMITTED", "RUNNING"):
                assert task["status"] == "DONE", "\n".join(task["details"])
                return task
            time.sleep(0.5)
        raise AssertionError(f"{method} does not end")


def drawing_file(drawing: np.ndarray, affine: np.ndarray, case: str) -> bytes:
    """What the page sends, made by NiBabel."""
    image = nib.Nifti1Image(drawing.astype(np.uint8), affine)
    image.header.set_sform(affine, 1)
    image.header["intent_name"] = mark_of(case).encode()
    return image.to_bytes()


def voxels(path: str | Path) -> np.ndarray:
    return np.asarray(nib.Nifti1Image.from_filename(path).dataobj)
