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

from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from monailabel.config import settings

from scripts.label_app.volumes import LABELS, REGION_VALUES
from scripts.reporting.appearance import COLOURS_BY_VALUE, NOT_FOR_DIAGNOSIS

WEB = Path(__file__).parent / "web"
REPORT_WEB = Path(__file__).parents[1] / "reporting" / "web"
# all that the page may ask for here; nothing of a request becomes part of a path
ASSETS = {
    **{name: WEB / name for name in ("review.css", "review.js", "server.js", "volumes.js")},
    **{name: REPORT_WEB / name for name in ("report.css", "niivue.umd.js", "LICENSES.txt")},
}
HEADERS = {
    # the page talks to its own server alone, whatever a case is called; NiiVue's fonts are data URLs
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
router = APIRouter(prefix=f"{settings.MONAI_LABEL_API_STR}/review", include_in_schema=False)


@router.get("/")
def page() -> HTMLResponse:
    """Gives the page for reviewers. It holds no data: its script asks the server for them, as any other client."""
    environment = Environment(
        loader=FileSystemLoader(WEB), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    html = environment.get_template("review.html").render(
        note=NOT_FOR_DIAGNOSIS, labels=LABELS, colours=COLOURS_BY_VALUE, regions=REGION_VALUES
    )
    return HTMLResponse(html, headers=HEADERS)


@router.get("/{name}")
def asset(name: str) -> FileResponse:
    """Gives one of the page's files.

    Raises:
        HTTPException: 404 for any other name.
    """
    if name not in ASSETS:
        raise HTTPException(404, f"no {name} here; the page is /review/")
    return FileResponse(ASSETS[name], headers=HEADERS)
