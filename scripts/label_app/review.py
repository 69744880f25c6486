# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from monailabel.config import settings

from scripts.brats import NOT_FOR_DIAGNOSIS, REGION_VALUES, TISSUE_VALUES, TISSUES
from scripts.web.pages import WEB as SHARED_WEB

WEB = Path(__file__).parent / "web"
# all that the page may ask for here; nothing of a request becomes part of a path
ASSETS = {
    **{name: WEB / name for name in ("review.css", "review.js", "server.js", "volumes.js")},
    **{name: SHARED_WEB / name for name in ("base.css", "niivue.umd.js", "LICENSES.txt")},
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
        note=NOT_FOR_DIAGNOSIS,
        labels=TISSUE_VALUES,
        colours={value: tissue.colour for value, tissue in TISSUES.items()},
        regions=REGION_VALUES,
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
