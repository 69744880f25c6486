# SPDX-License-Identifier: Apache-2.0
"""Serves a folder as any static host would, and calls functions of its modules in a browser's page."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

# turns typed arrays into text and back, in what is passed to a function and in what it returns
CALL = """async ([module, name, given]) => {
  const kinds = { Float32Array, Float64Array, Uint8Array, Int16Array, Int32Array };
  const bytesOf = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const revive = (value) => {
    if (Array.isArray(value)) return value.map(revive);
    if (value === null || typeof value !== "object") return value;
    if (value.array) return new kinds[value.array](bytesOf(value.content).buffer);
    if (value.fileName) return new File([bytesOf(value.content)], value.fileName);
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, revive(one)]));
  };
  const store = (value) => {
    if (ArrayBuffer.isView(value)) {
      const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
      let text = "";
      for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
      return { array: value.constructor.name, content: btoa(text) };
    }
    if (Array.isArray(value)) return value.map(store);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, store(one)]));
  };
  try {
    const found = (await import(new URL(module, location.href)))[name];
    return { value: store(typeof found === "function" ? await found(...given.map(revive)) : found) };
  } catch (error) {
    return { error: error.constructor.name, message: error.message };
  }
}"""


class RefusedError(Exception):
    """A `Refusal` of the page, with its message."""


class Handler(SimpleHTTPRequestHandler):
    """Notes what was asked for."""

    asked: list[str]

    def __init__(self, *args: Any, asked: list[str], **kwargs: Any) -> None:
        self.asked = asked
        super().__init__(*args, **kwargs)

    def log_message(self, format: str, *args: Any) -> None:
        self.asked.append(self.path)


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Yields the address of a folder, and the list to which each path that is asked for is added."""
    asked: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder), asked=asked))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def call(page: Any, module: str, name: str, *given: Any) -> Any:
    """Calls a function of a module with arrays, files (`as_file`), and what JSON holds; returns what it returns.

    Raises:
        RefusedError: for the page's own refusals; other errors fail the test.
    """
    answer = page.evaluate(CALL, [module, name, [_store(value) for value in given]])
    if "error" in answer:
        if answer["error"] == "Refusal":
            raise RefusedError(answer["message"])
        raise AssertionError(f"{answer['error']}: {answer['message']}")
    return _revive(answer.get("value"))


def as_file(path: Path, name: str | None = None) -> dict[str, str]:
    """Returns a file as an argument of `call`."""
    return {"fileName": name or path.name, "content": base64.b64encode(path.read_bytes()).decode()}


def volume(voxels: np.ndarray) -> np.ndarray:
    """Returns voxels (H, W, D) as the page keeps them: in one row, the first axis fastest."""
    return np.asarray(voxels, np.float32).ravel(order="F")


def _store(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.ndim == 1:
        kind = value.dtype.name.capitalize()
        return {"array": f"{kind}Array", "content": base64.b64encode(value.tobytes()).decode()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_store(one) for one in value]
    if isinstance(value, dict):
        return {key: _store(one) for key, one in value.items()}
    return value


def _revive(value: Any) -> Any:
    if isinstance(value, dict) and "array" in value:
        return np.frombuffer(base64.b64decode(value["content"]), value["array"].removesuffix("Array").lower())
    if isinstance(value, dict):
        return {key: _revive(one) for key, one in value.items()}
    return [_revive(one) for one in value] if isinstance(value, list) else value
