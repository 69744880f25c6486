# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.data.datalist import read_datalist
from scripts.data.discovery import find_cases
from scripts.tools.evidence import cells as cells_module
from scripts.tools.evidence.labels import ARMS, make_label_cells
from tests.tools.conftest import TINY


def test_unlabelled_patients_are_the_others_and_their_labels_are_out_of_reach(
    cohort: str, tmp_path: Path, quickly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells_module, "DISTURBANCES", {"artefacts": ["gamma"], "severities": [2], "norms": []})
    cases = find_cases(cohort)
    cells = make_label_cells(cases, output_dir=tmp_path, labelled=2, seeds=2, folds=4)
    assert [(cell.seed, cell.arm) for cell in cells] == [(seed, arm) for seed in range(2) for arm in ARMS]
    for cell in cells:
        labelled, validation = read_datalist(str(cell.datalist))
        others = find_cases(str(cell.folder.parent / "unlabelled"), labels="optional")
        assert ("unlabelled_dir" in cell.settings) == (cell.arm == ARMS[-1])
        assert (len(labelled), len(others), len(validation)) == (2, 1, 1)
        assert not any("label" in item for item in others)
        assert len({item["case"] for item in [*labelled, *others, *validation]}) == len(cases)
    cells[-1].run(TINY | {"epochs": 2, "batch_size": 1})
    assert cells[-1].is_done
    said = (cells[-1].folder / "training.log").read_text()
    assert "[3/3]" in said  # two cases in place of three: 2 * 3 steps are 3 epochs
    with pytest.raises(BundleError, match="--labelled 3: allowed are 2 to 2"):
        make_label_cells(cases, output_dir=tmp_path, labelled=3, seeds=1, folds=4)
