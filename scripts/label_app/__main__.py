# SPDX-License-Identifier: Apache-2.0
"""Starts the review server: `python -m scripts.label_app --studies DIR`."""

from __future__ import annotations

import argparse
import ipaddress
import json
import logging
import logging.handlers
import os
import shutil
import sys
import tempfile
from pathlib import Path

import scripts.label_app.sitecustomize  # noqa: F401  # torchvision beside a torch without its operators
from scripts.base.atomic_files import make_folder
from scripts.base.errors import BundleError

APP = Path(__file__).resolve().parent
BUNDLE = APP.parents[1]
MEGABYTE = 2**20


def main() -> None:
    """Reads the command line and serves until it is stopped.

    Raises:
        BundleError: for an address that others reach while nobody has to sign in, or a folder that cannot be used.
    """
    arguments = _parser().parse_args()
    work = Path(arguments.work or Path(arguments.studies, ".served"))
    if not Path(arguments.studies).is_dir():
        raise BundleError(f"--studies {arguments.studies}: no such folder; give the folder that holds the cases")
    _prepare(arguments, work)

    import uvicorn
    from monailabel.config import settings

    if not _is_loopback(arguments.host) and not settings.MONAI_LABEL_AUTH_ENABLE:
        raise BundleError(
            f"--host {arguments.host}: others would reach patients' images without a password; switch authentication "
            "on (docs/label.md), or serve 127.0.0.1 behind a proxy that asks for one"
        )
    from scripts.label_app.server import make_app

    hosts = ["127.0.0.1", "localhost", "[::1]", arguments.host, *arguments.allow_host]
    app = make_app(hosts=hosts, max_upload=arguments.max_upload_mb * MEGABYTE)
    print(f"Review page: http{'s' if arguments.ssl_certfile else ''}://{arguments.host}:{arguments.port}/review/")
    uvicorn.run(
        app,
        host=arguments.host,
        port=arguments.port,
        ssl_certfile=arguments.ssl_certfile,
        ssl_keyfile=arguments.ssl_keyfile,
        log_config=None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.label_app", description="Review of BraTS cases.")
    add = parser.add_argument
    add("--studies", required=True, help="folder of the cases; labels are written beside the scans")
    add("--host", default="127.0.0.1", help="address to listen on; others than this machine's need authentication")
    add("--port", type=int, default=8000)
    add("--allow-host", action="append", default=[], help="another name by which browsers call the server")
    add("--work", help="folder of the log, of uploads and of files made for clients; STUDIES/.served by default")
    add("--bundle", default=str(BUNDLE), help="folder of the bundle whose weights are served and trained")
    add("--view", default="4d", help="what MONAI Label's clients see of a case: 4d, t1, t1ce, t2 or flair")
    add("--cache-gb", type=float, default=2, help="limit of the files made for clients")
    add("--allow-missing", action="store_true", help="show cases that lack one or two modalities, and say so")
    add("--max-upload-mb", type=int, default=512, help="limit of a request")
    add("--ssl-certfile")
    add("--ssl-keyfile")
    add("--no-scoring", action="store_true", help="do not segment all cases in the background")
    return parser


def _prepare(arguments: argparse.Namespace, work: Path) -> None:
    """Makes the folders and hands the settings to MONAI Label, here and in the processes that it starts."""
    uploads = work / "uploads"
    shutil.rmtree(uploads, ignore_errors=True)  # of a server that was killed
    for folder in (work, uploads):
        make_folder(folder)
    tempfile.tempdir = str(uploads.resolve())
    file = logging.handlers.RotatingFileHandler(work / "server.log", maxBytes=10 * MEGABYTE, backupCount=3)
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, handlers=[file, logging.StreamHandler()])

    conf = {"bundle": arguments.bundle, "view": arguments.view, "cache_gb": str(arguments.cache_gb)}
    conf["allow_missing"] = str(arguments.allow_missing)
    told = {
        "MONAI_LABEL_APP_DIR": str(APP),
        "MONAI_LABEL_STUDIES": str(Path(arguments.studies).resolve()),
        "MONAI_LABEL_APP_CONF": json.dumps(conf),
        "MONAI_LABEL_SERVER_PORT": str(arguments.port),
        "MONAI_LABEL_SESSIONS": "false",
        "MONAI_LABEL_AUTO_UPDATE_SCORING": str(not arguments.no_scoring),
        "TMPDIR": str(uploads.resolve()),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(APP), str(BUNDLE), os.environ.get("PYTHONPATH")])),
    }
    os.environ.update(told)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    try:
        main()
    except BundleError as error:
        sys.exit(f"error: {error}")
