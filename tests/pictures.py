# SPDX-License-Identifier: Apache-2.0
"""Remakes the pictures of docs/ and the notebook's output, from phantoms alone.

Run `python -m tests.pictures` after a change of what they show: it trains and evaluates the demo, takes its pictures
and one of the report's viewer, and executes the notebook. It needs Chromium, and takes minutes on two cores.
A demo that is in output/demo is not trained again: remove it if the training has changed.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from playwright.sync_api import sync_playwright

from scripts.tools.evidence import arms
from tests.conftest import CHROMIUM, FLAGS

BUNDLE = Path(__file__).parents[1]
DOCS, DEMO = BUNDLE / "docs", BUNDLE / "output" / "demo"
# of the evaluation, whose folder may not be the training's
EVALUATED = DEMO / "evaluate"
# the demo with the critic of the paper, which learns and is not heard
PAPERS_CRITIC = DEMO / "papers_critic"
OF_THE_PAPER = [f"--{name}={value}" for name, value in arms.PAPERS_CRITIC.items()] + ["--critic_start=1000"]


def main() -> None:
    """Writes docs/phantom.png, papers_critic.png, curves.png, reliability.png, report.png and usage.ipynb."""
    bundle("training", ["train", "demo"], "--resume=auto")
    places = [f"--output_dir={PAPERS_CRITIC}", f"--ckpt_dir={PAPERS_CRITIC}"]
    bundle("training", ["train", "demo"], "--resume=auto", *places, *OF_THE_PAPER)
    bundle("evaluating", ["inference", "evaluate", "demo"], f"--output_dir={EVALUATED}")
    for source, name in (
        (DEMO / "case.png", "phantom.png"),
        (PAPERS_CRITIC / "case.png", "papers_critic.png"),
        (DEMO / "curves.png", "curves.png"),
        (EVALUATED / "reliability.png", "reliability.png"),
    ):
        shutil.copyfile(source, DOCS / name)
    photograph(EVALUATED / "report.html", DOCS / "report.png")
    execute(DOCS / "usage.ipynb")


def bundle(command: str, configs: list[str], *words: str) -> None:
    """Runs a command of the bundle."""
    files = str([f"configs/{name}.yaml" for name in configs])
    run = [sys.executable, "-m", "monai.bundle", "run", command, "--config_file", files]
    subprocess.run([*run, *words], cwd=BUNDLE, check=True)


def photograph(report: Path, picture: Path) -> None:
    """Takes a picture of the report's viewer, with the critic's confidence over the FLAIR."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1180, "height": 900})
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-viewer=ready]", timeout=120_000)
        page.wait_for_timeout(2000)
        page.locator("#viewer").screenshot(path=picture)
        browser.close()


def execute(path: Path) -> None:
    """Runs a notebook and keeps what its cells print and draw."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which differ from run to run
        if "outputs" in cell:  # without what MONAI logs of plugins that are not installed
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    main()
