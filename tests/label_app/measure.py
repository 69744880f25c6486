# SPDX-License-Identifier: Apache-2.0
"""Measures a review server on this machine: `PYTHONPATH=scripts/label_app python -m tests.label_app.measure`.

Cases of full size, one after the other and by two users at once: times as a reviewer waits for them, and memory.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import requests

from scripts.brats import Item
from scripts.data.discovery import find_cases
from scripts.data.phantoms import make_cohort
from tests.label_app.running_server import Server

MIB = 2**20


def main() -> None:
    """Prints a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m tests.label_app.measure", description=__doc__)
    parser.add_argument("--studies", help="folder of cases, whose scans are linked to; without it, phantoms are made")
    parser.add_argument("--cases", type=int, default=17)
    parser.add_argument("--shape", type=int, nargs=3, default=(240, 240, 155))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        studies = Path(folder, "studies")
        if arguments.studies:
            link(find_cases(arguments.studies, labels="ignored")[: arguments.cases], studies)
        else:
            make_cohort(studies, cases=arguments.cases, shape=arguments.shape)
        server = Server(Path(folder))
        try:
            report(server, sorted(server.listed()))
        finally:
            server.stop()


def link(items: list[Item], studies: Path) -> None:
    """Links to the scans of cases, so that nothing is written beside them."""
    for item in items:
        folder = studies / item["case"]
        folder.mkdir(parents=True)
        for path in item["image"]:
            (folder / Path(path).name).symlink_to(Path(path).resolve())


def report(server: Server, cases: list[str]) -> None:
    """Measures, and prints a line for each figure as soon as it is there."""
    print("| what | measured |\n|---|---|", flush=True)
    line("memory of the server at its start", f"{memory(server):.0f} MiB")
    alone = [timed(partial(segment, server, case)) for case in cases]
    line(f"a segmentation, one after the other, {len(cases)} cases", spread(alone))
    line("memory after them, and its highest", f"{memory(server):.0f} MiB, {memory(server, 'VmHWM'):.0f} MiB")
    line("a list, idle", spread([timed(server.listed) for _ in range(5)]))
    line("a scan, idle", spread([timed(partial(scan, server, case)) for case in cases[:5]]))
    with ThreadPoolExecutor(2) as users:
        both = [users.submit(timed, partial(segment, server, case)) for case in cases[:2]]
        time.sleep(0.3)
        line("a list while two users segment", spread([timed(server.listed) for _ in range(3)]))
        line("a scan while two users segment", spread([timed(partial(scan, server, case)) for case in cases[:3]]))
        line("a segmentation, two users at once", spread([user.result() for user in both]))
    made = sum(file.stat().st_size for file in server.studies.glob(".served/**/*") if file.is_file())
    line("files made for clients", f"{made / MIB:.0f} MiB")


def segment(server: Server, case: str) -> None:
    """Segments a case as the page asks for it."""
    requests.post(f"{server.url}/review/cases/{case}/segmentation", timeout=600).raise_for_status()


def scan(server: Server, case: str) -> None:
    """Fetches a scan as the page does."""
    assert server.get(f"review/cases/{case}/scan/flair").ok


def timed(action: Callable[[], object]) -> float:
    """Returns how many seconds an action takes."""
    start = time.monotonic()
    action()
    return time.monotonic() - start


def memory(server: Server, kind: str = "VmRSS") -> float:
    """Returns the MiB that the server's process holds, or at most held (`VmHWM`)."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split(f"{kind}:")[1].split()[0]) / 1024


def spread(seconds: list[float]) -> str:
    """Returns median and range."""
    return f"{statistics.median(seconds):.2f} s ({min(seconds):.2f} to {max(seconds):.2f})"


def line(what: str, found: str) -> None:
    """Prints a line of the table."""
    print(f"| {what} | {found} |", flush=True)


if __name__ == "__main__":
    main()
