# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import base64
import json
from pathlib import Path

from scripts.base.text_files import write_json
from scripts.evaluation.reliability.section import reliability_section
from scripts.evaluation.reliability.summary import summarise
from tests.evaluation.reliability.test_islands import make_islands
from tests.evaluation.reliability.test_summary import make_rows


def test_the_section_has_verdict_and_tables_and_escapes_what_the_file_contains(tmp_path: Path) -> None:
    summary = summarise(make_rows(0.7, 0.8), make_islands())
    write_json(tmp_path / "reliability.json", summary | {"verdict": ["it is <worse>"]})
    (tmp_path / "reliability.png").write_bytes(b"picture")
    section = reliability_section(tmp_path)
    assert section is not None
    assert section.title == "Reliability of the critic"
    assert "<li>It is &lt;worse&gt;</li>" in section.html
    assert "<h3>Within 3 mm of the prediction&#39;s surface</h3>" in section.html
    scores = "<td>10.0 %</td><td>0.700</td><td>0.800</td><td>-0.100 (-0.100 to -0.100)</td>"
    assert f'<th scope="row">all</th><td>9</td>{scores}' in section.html
    assert '<th scope="row">0.5 ml</th><td>1 of 2</td><td>0 of 1</td>' in section.html
    assert section.html.count("<tr>") == 6 + 8 + 3 + 4 + 2 + 3 + 1
    assert f"base64,{base64.b64encode(b'picture').decode()}" in section.html
    assert "Not for diagnosis." in section.html
    assert reliability_section(tmp_path / "none") is None
    assert json.loads((tmp_path / "reliability.json").read_text())["cases"] == 3
