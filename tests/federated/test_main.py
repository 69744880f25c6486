# Copyright 2026 The brats_mri_reciprocal_segmentation authors
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#     http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

from __future__ import annotations

import sys

import pytest

from scripts.errors import BundleError
from scripts.federated.__main__ import main


def test_a_federation_without_flare_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvflare", None)
    monkeypatch.delitem(sys.modules, "scripts.federated.simulation", raising=False)
    monkeypatch.setattr(sys, "argv", ["federated", "--sites", "a", "b"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(BundleError, match=r"pip install -r requirements-federated\.txt"):
        main()
