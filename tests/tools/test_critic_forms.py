# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

from scripts.data.datalist import read_datalist, write_datalist
from tests.commands import run
from tests.tools.critic_inputs import make_inputs, settings


def test_the_forms_are_compared_cell_by_cell(tmp_path: Path) -> None:
    folder, arguments = tmp_path, make_inputs(tmp_path)
    words = [*arguments[:3], "--output_dir", str(folder / "forms")]
    words += ["--seeds", "0", "--settings", settings(folder), "--steps", "2", "--forms"]
    result = run("scripts.tools.critic_forms", *words, "whole")
    assert result.returncode == 0, result.stderr
    cell = folder / "forms" / "whole_0_2.json"
    rows = json.loads(cell.read_text())
    for row in rows:
        row["boundary_auroc_critic"], row["boundary_auroc_entropy"] = 0.75, 0.25
    cell.write_text(json.dumps(rows))
    result = run("scripts.tools.critic_forms", *words, "whole", "without the image")
    assert result.returncode == 0, result.stderr
    table = (folder / "forms" / "forms.md").read_text()
    assert table in result.stdout
    lines = [line.split(" | ")[:3] for line in table.splitlines()]
    assert lines[3] == [
        "| whole",
        "0",
        "+0.500 (+0.500 to +0.500)",
    ]  # as the file of the cell has it, which was not made anew
    assert lines[4][:2] == ["| without the image", "0"]
    refused = run("scripts.tools.critic_forms", *words, "other")
    assert "allowed: whole, without the image" in refused.stderr
    training, validation = read_datalist(arguments[0])
    write_datalist(str(folder / "one.json"), training, validation[:1])
    refused = run("scripts.tools.critic_forms", str(folder / "one.json"), *words[1:], "whole")
    assert "one.json: its validation has 1 case; at least 2 are needed" in refused.stderr
