# SPDX-License-Identifier: Apache-2.0
"""Firefox with the few methods of Playwright's pages that tests of both browsers call.

It is driven by Mozilla's own client: Playwright 1.65 wants a newer Firefox than the one of extended support.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
XVFB = shutil.which("Xvfb")  # without a screen Firefox has no WebGL, and the page no viewer
STEP = 0.1  # seconds between two looks


class FirefoxPage:
    """A page in Firefox.

    Args:
        client: the connection, a `Marionette`.
        downloads: folder into which Firefox saves.
    """

    def __init__(self, client: Any, downloads: Path) -> None:
        self.client = client
        self.downloads = downloads

    def goto(self, address: str) -> None:
        self.client.navigate(address)

    def evaluate(self, script: str, argument: Any = None) -> Any:
        run = f"const found = ({script}); return typeof found === 'function' ? found(arguments[0]) : found;"
        return self.client.execute_script(run, script_args=[argument], sandbox=None)

    def set_input_files(self, selector: str, paths: Sequence[str]) -> None:
        self.evaluate("(one) => { document.querySelector(one).hidden = false; }", selector)  # else it takes no keys
        self._find(selector).send_keys("\n".join(paths))
        self.evaluate("(one) => { document.querySelector(one).hidden = true; }", selector)

    def click(self, selector: str) -> None:
        self._find(selector).click()

    def inner_text(self, selector: str) -> str:
        return str(self.evaluate("(one) => document.querySelector(one).innerText", selector))

    def is_disabled(self, selector: str) -> bool:
        return bool(self.evaluate("(one) => document.querySelector(one).disabled", selector))

    def select_option(self, selector: str, value: str | None = None, *, label: str | None = None) -> None:
        choose = """([selector, value, label]) => {
          const select = document.querySelector(selector);
          select.value = [...select.options].find((one) => one.label === label || one.value === value).value;
          select.dispatchEvent(new Event("change", { bubbles: true }));
        }"""
        self.evaluate(choose, [selector, value, label])

    def wait_for_selector(self, selector: str, *, timeout: float = 30_000) -> None:
        self._wait(lambda: self.evaluate("(one) => document.querySelector(one) !== null", selector), selector, timeout)

    def download(self, selector: str, folder: Path) -> Path:
        """Clicks, and moves what is saved thereby into a folder."""
        self.click(selector)
        self._wait(lambda: any(self.downloads.iterdir()) and not [*self.downloads.glob("*.part")], selector)
        (saved,) = self.downloads.iterdir()
        self._wait(lambda: saved.stat().st_size, selector)
        return Path(shutil.move(saved, folder / saved.name))

    def reload(self) -> None:
        self.client.refresh()

    @property
    def context(self) -> FirefoxPage:
        """What holds for the whole browser, which has one page."""
        return self

    def set_offline(self, offline: bool) -> None:
        with self.client.using_context("chrome"):
            self.client.execute_script("Services.io.offline = arguments[0]", script_args=[offline])

    def _find(self, selector: str) -> Any:
        return self.client.find_element("css selector", selector)

    def _wait(self, is_done: Any, what: str, timeout: float = 30_000) -> None:
        end = time.monotonic() + timeout / 1000
        while not is_done():
            assert time.monotonic() < end, f"waited {timeout / 1000:g} s for {what}"
            time.sleep(STEP)


@contextmanager
def open_firefox(downloads: Path) -> Iterator[FirefoxPage]:
    """Yields a page in a Firefox of its own, on a screen of its own where there is a program for one."""
    from marionette_driver.marionette import Marionette

    preferences = {
        "browser.download.dir": str(downloads),
        "browser.download.folderList": 2,
        "network.disable-localhost-when-offline": True,
    }
    with _screen() as display:
        client = Marionette(bin=FIREFOX, headless=display is None, prefs=preferences, app_args=_on(display))
        client.start_session()
        client.timeout.script = 60
        try:
            yield FirefoxPage(client, downloads)
        finally:
            client.quit(in_app=True)
            client.cleanup()


def _on(display: str | None) -> list[str]:
    return [] if display is None else [f"--display={display}"]


@contextmanager
def _screen() -> Iterator[str | None]:
    if XVFB is None:
        yield None
        return
    server = subprocess.Popen([XVFB, "-displayfd", "1", "-screen", "0", "1280x1024x24"], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        yield f":{int(server.stdout.readline())}"
    finally:
        server.terminate()
        server.wait()
