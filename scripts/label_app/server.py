# SPDX-License-Identifier: Apache-2.0
"""The web server: MONAI Label's endpoints, made safe, and the review page."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

from fastapi import APIRouter, FastAPI, HTTPException
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from monailabel.endpoints import activelearning, datastore, infer, info, scoring, train
from monailabel.endpoints.user.auth import get_current_user
from monailabel.interfaces.utils.app import app_instance
from monailabel.utils.async_tasks.utils import tasks
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from scripts.brats import NOT_FOR_DIAGNOSIS
from scripts.label_app import people, review

ENDPOINTS = (info, infer, train, activelearning, scoring, datastore)
# of MONAI Label's endpoints, those that start something of which one may run at a time
ONE_AT_A_TIME = {("/train/", "POST"): "train", ("/scoring/", "POST"): "scoring"}
_starting = threading.Lock()


def make_app(*, hosts: list[str], max_upload: int) -> FastAPI:
    """Returns the server.

    MONAI Label's own answers one request at a time, because its endpoints are coroutines that block: a list waits for a
    segmentation. Here they run in threads. It also lets the pages of every web site read patients' images, which only
    the page of this server may do here.

    Args:
        hosts: names by which browsers may call it.
        max_upload: size of a request's body in bytes, beyond which it is refused (413).
    """
    app = FastAPI(
        title=f"BraTS review. {NOT_FOR_DIAGNOSIS}",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
        max_body_size=max_upload,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(SameOrigin)],
    )
    for module in ENDPOINTS:
        app.include_router(_threaded(module.router))
    app.include_router(people.router)
    app.include_router(review.router)
    app.dependency_overrides[get_current_user] = people.current_user

    @app.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        return RedirectResponse("/review/")

    return app


class SameOrigin:
    """Refuses what the page of another web site asks a browser to send: no site may read or write here.

    Programs other than browsers send no `Origin`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it with 403."""
        headers = {name.decode().lower(): value.decode() for name, value in scope.get("headers", [])}
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            refusal = JSONResponse({"detail": f"requests from pages of {origin} are refused"}, 403)
            await refusal(scope, receive, send)
        else:
            await self.app(scope, receive, send)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    instance = app_instance()
    instance.server_mode(True)
    instance.on_init_complete()
    yield


def _threaded(router: APIRouter) -> APIRouter:
    copy = APIRouter()
    for route in router.routes:
        assert isinstance(route, APIRoute)
        [method] = route.methods
        copy.add_api_route(
            route.path,
            _in_thread(route.endpoint, alone=ONE_AT_A_TIME.get((route.path.partition("{")[0], method))),
            methods=[method],
            summary=route.summary,
            tags=route.tags,
            include_in_schema=route.include_in_schema,
        )
    return copy


def _in_thread(endpoint: Callable[..., Coroutine[Any, Any, Any]], *, alone: str | None) -> Callable[..., Any]:
    def call(**arguments: Any) -> Any:
        try:
            if not alone:
                return _finish(endpoint(**arguments))
            with _starting:
                if any(task["status"] in ("SUBMITTED", "RUNNING") for task in tasks(alone)):
                    raise HTTPException(429, f"{alone} is running already")
                return _finish(endpoint(**arguments))
        except BaseException:
            # FastAPI drops these with the answer, and among them the removal of what was uploaded
            for task in getattr(arguments.get("background_tasks"), "tasks", []):
                task.func(*task.args, **task.kwargs)
            raise

    call.__signature__ = inspect.signature(endpoint, eval_str=True)  # type: ignore[attr-defined]
    call.__name__ = endpoint.__name__
    return call


def _finish(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("the endpoint waits for something")
