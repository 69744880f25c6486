# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import sys

import pytest

from scripts.base.errors import BundleError
from scripts.federated.__main__ import main


def test_a_federation_without_flare_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvflare", None)
    monkeypatch.delitem(sys.modules, "scripts.federated.simulation", raising=False)
    monkeypatch.setattr(sys, "argv", ["federated", "--sites", "a", "b"])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(BundleError, match=r"pip install -r requirements-federated\.txt"):
        main()
