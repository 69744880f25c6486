# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scripts.base.errors import BundleError
from scripts.brats import REGIONS
from scripts.tools.peers import __main__ as peers
from scripts.tools.peers.__main__ import NNUNET, compare, main
from scripts.tools.peers.contenders import CONTENDERS


def write_results(folder: Path, *dice: float) -> Path:
    """Writes the results of a training in which all regions of a case are alike; HD95 is ten times Dice."""
    (folder / "evaluated").mkdir(parents=True)
    rows = [f"case{i},{region},{value},{10 * value}" for i, value in enumerate(dice) for region in REGIONS]
    (folder / "evaluated" / "per_case.csv").write_text("\n".join(["case,region,dice,hd95", *rows]) + "\n")
    cost = {"parameters_million": 3.31, "minutes": 40.2, "steps": 1234, "case_seconds": 2.04}
    (folder / "cost.json").write_text(json.dumps(cost))
    return folder


def test_each_training_is_compared_with_the_first(tmp_path: Path) -> None:
    folders = {"ours": write_results(tmp_path / "a", 0.5, 0.7), "theirs": write_results(tmp_path / "b", 0.6, 0.8)}
    lines = compare(folders).splitlines()
    costs = "3.3 | 40 | 1,234 | 2.0"
    assert lines[2] == f"| ours | {costs} | 0.600 / 0.600 / 0.600 | 6.0 / 6.0 / 6.0 | 0.600 |  |"
    assert lines[3].endswith("| 0.700 / 0.700 / 0.700 | 7.0 / 7.0 / 7.0 | 0.700 | +0.1000 (+0.1000 to +0.1000) |")


def test_what_is_there_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_results(tmp_path / "contender1_3min", 0.5)
    (tmp_path / "list.json").touch()
    arguments = [str(tmp_path / "list.json"), "--minutes", "3", "--only", "1", "--output_dir", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["peers", *arguments])
    main()
    assert f"| {list(CONTENDERS)[1]} | 3.3 |" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list.json", "--only", "9"], r"--only \[9\]; allowed: .*0 to 5"),
        (["list.json", "--minutes", "0"], r"--minutes 0\.0"),
        (["missing.json"], r"missing\.json: no such file"),
        (["list.json", "--page", "missing.md"], r"--page missing\.md: has no line"),
        (["list.json"], r"pip install -r requirements-peers\.txt"),
    ],
)
def test_mistakes_are_told(arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.json").touch()
    monkeypatch.setattr(sys, "argv", ["peers", *arguments])
    monkeypatch.setattr(peers, "find_spec", lambda _: None)
    with pytest.raises(BundleError, match=message):
        main()


def test_a_failure_of_nnunet_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=rf"nnU-Net failed: .*list\.json.*{tmp_path / 'run' / 'nnunet.log'}"):
        peers.run_nnunet(tmp_path / "list.json", tmp_path / "run", minutes=1)
    assert NNUNET not in CONTENDERS
