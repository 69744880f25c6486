# SPDX-License-Identifier: Apache-2.0
"""The review page, and what it asks the server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

from fastapi import APIRouter, Body, Depends, Header, HTTPException, Query
from fastapi.responses import FileResponse, HTMLResponse, Response
from isal import igzip
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC, User
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.utils import tasks

from scripts.data.missing import what_is_missing
from scripts.label_app.confidence import LEADS, MEASURED, score
from scripts.label_app.datastore import CaseDatastore, http_errors
from scripts.label_app.history import Decision, VersionConflictError, digest_of, read_voxels
from scripts.label_app.uploads import mark_of, read_drawing
from scripts.label_app.volumes import grid_of, read_for_viewer, read_scan, turned, viewer_grid
from scripts.web.pages import WEB as SHARED_WEB
from scripts.web.pages import render

WEB = Path(__file__).parent / "web"
# all files that the page may ask for; nothing of a request becomes part of a path
ASSETS = {
    **{place.name: place for place in sorted(WEB.iterdir()) if place.suffix in (".js", ".css")},
    **{place.name: place for place in sorted(SHARED_WEB.iterdir()) if place.suffix in (".js", ".css", ".txt")},
}
HEADERS = {
    # the page talks to its own server alone, whatever a case is called; NiiVue's fonts are data URLs
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}
Reader = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))]
Annotator = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))]
Reviewer = Annotated[User, Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_REVIEWER))]
router = APIRouter(prefix="/review", include_in_schema=False)


@router.get("/")
def page() -> HTMLResponse:
    """Returns the page. It holds no data: its script asks the server for them, as any other client."""
    html = render(WEB / "review.html", measured=MEASURED)
    return HTMLResponse(html, headers=HEADERS)


@router.get("/cases")
def cases(user: Reader) -> dict[str, Any]:
    """Returns all cases, broken ones too, with their states, and what runs in the background."""
    store = _store()
    store.refresh()
    listed = [_line(store, case) for case in store.items]
    name = user.username if settings.MONAI_LABEL_AUTH_ENABLE else None
    return {"cases": listed, "user": name, "scoring": _scoring(listed), "training": _training()}


@router.get("/cases/{case}")
def case_details(case: str, user: Reader) -> dict[str, Any]:
    """Returns a case's versions and decisions, and the metrics of the machine's segmentation where it is current."""
    store = _store()
    item = store.item(case)
    history = store.history(item["case"])
    with http_errors():
        about = history.record()["segmentation"]
        current = bool(about) and about["stamp"] == _scorer().task.stamp(item["case"])
        shape, affine = viewer_grid(store.reference(item))
    return {
        "mark": mark_of(item["case"]),
        "grid": {"shape": shape, "affine": affine.tolist()},
        "versions": history.versions(),
        "decisions": history.record()["decisions"],
        "state": history.state(),
        "segmentation": about if current else None,
    }


@router.get("/cases/{case}/scan/{modality}")
def scan(case: str, modality: str, user: Reader, accept_encoding: Annotated[str, Header()] = "") -> Response:
    """Returns one modality as NIfTI."""
    store = _store()
    with http_errors():
        return _nifti(read_scan(store.item(case), modality, cache_dir=store.cache_dir), accept_encoding)


@router.get("/cases/{case}/label/{tag}")
def label(case: str, tag: str, user: Reader, accept_encoding: Annotated[str, Header()] = "") -> Response:
    """Returns a label map on the axes of the scans: a version such as `v2`, or one of `datastore.TAGS`.

    Raises:
        HTTPException: 404 where there is none.
    """
    place = _store().get_label_uri(case, tag)
    if not place:
        raise HTTPException(404, f"{case} has no label {tag}")
    return _nifti(read_for_viewer(place), accept_encoding)


@router.get("/cases/{case}/export/v{version}")
def export(case: str, version: int, user: Reader) -> FileResponse:
    """Returns a version as the NIfTI file that is stored.

    Raises:
        HTTPException: 404 where there is no such version.
    """
    store = _store()
    place = store.history(store.item(case)["case"]).place(version)
    if not place.exists():
        raise HTTPException(404, f"{case} has no version {version}")
    return FileResponse(place)


@router.post("/cases/{case}/segmentation")
def segment(case: str, user: Annotator) -> dict[str, Any]:
    """Segments a case, and returns what the server keeps of it; the label map is then that of tag `original`."""
    store = _store()
    Path(app_instance().infer({"model": "confidence", "image": case})["file"]).unlink()
    about = store.history(case).record()["segmentation"]
    store.update_image_info(case, {"stamp": about["stamp"], LEADS: score(about["metrics"]), "fault": ""})
    return about


@router.put("/cases/{case}/label")
def save(
    case: str,
    user: Annotator,
    drawing: Annotated[bytes, Body(media_type="application/octet-stream")],
    based_on: Annotated[int, Query(ge=0)],
    by: str = "",
) -> dict[str, Any]:
    """Saves what was drawn as a draft; `based_on` is the version that was opened, 0 for none."""
    return _save(case, drawing, based_on=based_on, by=_person(user, by))


@router.put("/cases/{case}/decision/{decision}")
def decide(
    case: str,
    decision: Decision,
    user: Reviewer,
    drawing: Annotated[bytes, Body(media_type="application/octet-stream")],
    based_on: Annotated[int, Query(ge=0)],
    by: str = "",
    comment: Annotated[str, Query(max_length=2000)] = "",
) -> dict[str, Any]:
    """Saves what was drawn, as a new version where it is one, and records the decision on it.

    Raises:
        HTTPException: 422 for a rejection without a comment.
    """
    if decision == "rejected" and not comment.strip():
        raise HTTPException(422, "say why the case is rejected")
    return _save(case, drawing, based_on=based_on, by=_person(user, by), decision=decision, comment=comment.strip())


@router.get("/{name}")
def asset(name: str) -> FileResponse:
    """Returns one of the page's files.

    Raises:
        HTTPException: 404 for any other name.
    """
    if name not in ASSETS:
        raise HTTPException(404, f"no {name} here; the page is /review/")
    return FileResponse(ASSETS[name], headers=HEADERS)


def _save(
    case: str, drawing: bytes, *, based_on: int, by: str, decision: Decision | None = None, comment: str = ""
) -> dict[str, Any]:
    store = _store()
    item = store.item(case)
    history = store.history(item["case"])
    with http_errors(), _conflicts():
        reference = store.reference(item)
        labels = read_drawing(drawing, case=item["case"], reference=reference)
        version = history.save(
            labels,
            grid_of(reference)[1],
            by=by,
            client="review page",
            based_on=based_on,
            decision=decision,
            comment=comment,
        )
        stored = digest_of(turned(read_voxels(history.place(version)), grid_of(reference)[1]))
    return {"version": version, "state": history.state(), "voxels": stored}


@contextmanager
def _conflicts() -> Iterator[None]:
    try:
        yield
    except VersionConflictError as conflict:
        raise HTTPException(409, {"message": str(conflict), "newest": conflict.newest}) from conflict


def _person(user: User, claimed: str) -> str:
    name = user.username if settings.MONAI_LABEL_AUTH_ENABLE else claimed.strip()
    if not name:
        raise HTTPException(422, "say who you are: the name is recorded with what you save")
    return name


def _line(store: CaseDatastore, case: str) -> dict[str, Any]:
    item = store.items[case]
    line: dict[str, Any] = {"case": case, "patient": item["patient"], "fault": item.get("fault", "")}
    line["missing"] = what_is_missing(item.get("missing", []))
    if line["fault"]:
        return line | {"state": {"state": "broken"}, "scored": True, LEADS: None, "segmented": False}
    history = store.history(case)
    record = history.record()
    try:
        stamp = _scorer().task.stamp(case)
    except OSError:  # a scan was moved away since the list was made
        return line | {"fault": "a scan has gone", "state": {"state": "broken"}, "scored": True, LEADS: None}
    scored = record["image"].get("stamp") == stamp
    return line | {
        "fault": record["image"].get("fault", "") if scored else "",
        "state": history.state(),
        "scored": scored,
        LEADS: record["image"].get(LEADS) if scored else None,
        "segmented": record["segmentation"].get("stamp") == stamp,
    }


def _scoring(listed: list[dict[str, Any]]) -> dict[str, Any]:
    waiting = [line for line in listed if line["state"]["state"] in ("none", "draft")]
    done = sum(line["scored"] for line in waiting)
    return {"running": _is_running("scoring"), "done": done, "count": len(waiting)} | _failure("scoring")


def _training() -> dict[str, Any]:
    running = _is_running("train")
    known = tasks("train")[-1:]
    told = app_instance()._trainers["segmentation"].progress() if known else {}
    if known and known[0]["status"] == "STOPPED":
        told = {"state": "stopped"}
    elif known and known[0]["status"] == "ERROR" and told.get("state") != "failed":
        told = {"state": "failed"}
    return {"running": running} | told


def _failure(method: str) -> dict[str, Any]:
    known = tasks(method)[-1:]
    return {"failed": bool(known) and known[0]["status"] == "ERROR"}


def _is_running(method: str) -> bool:
    return any(task["status"] in ("SUBMITTED", "RUNNING") for task in tasks(method))


def _store() -> CaseDatastore:
    return cast(CaseDatastore, app_instance().datastore())


def _scorer() -> Any:
    return app_instance()._scoring_methods[LEADS]


def _nifti(content: bytes, accepted: str) -> Response:
    headers = {"Cache-Control": "no-cache"}
    if "gzip" in accepted:
        content, headers = igzip.compress(content, 1), headers | {"Content-Encoding": "gzip"}
    return Response(content, media_type="application/octet-stream", headers=headers)
