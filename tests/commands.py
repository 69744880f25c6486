# SPDX-License-Identifier: Apache-2.0
"""Starting of the bundle's commands as processes of their own, without importing PyTorch and MONAI for each.

A server, `python tests/commands.py SOCKET`, imports the libraries once and forks for every command. The child has its
own folder, environment, arguments, output and exit code, and runs the module as `python -m MODULE` would.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

BUNDLE = Path(__file__).parents[1]
# not the bundle's own scripts, which differ between the repository and an unpacked archive
PRELOADED = (
    *("torch", "monai.bundle", "monai.engines", "monai.handlers", "monai.transforms", "monai.losses"),
    *("monai.networks.nets", "monai.inferers", "monai.data", "ignite.handlers", "ignite.distributed"),
    *("nibabel", "scipy.ndimage", "scipy.spatial", "skimage.measure", "sklearn.metrics", "matplotlib.pyplot"),
    *("torch.utils.tensorboard", "jinja2", "yaml", "pydantic"),
)


class CommandServer:
    """The server's end in the tests; it lives as long as their process."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/socket"
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen([sys.executable, __file__, self.path], env=environment, cwd=self.folder.name)
        while not os.path.exists(self.path):
            if self.process.poll() is not None:
                raise RuntimeError("the server of commands did not start")
            time.sleep(0.05)

    def close(self) -> None:
        """Ends the server."""
        self.process.terminate()
        self.process.wait()
        self.folder.cleanup()


_server: CommandServer | None = None


def server() -> CommandServer:
    """Returns the server of this process, started when it is first needed."""
    global _server
    if _server is None:
        _server = CommandServer()
        atexit.register(stop_server)  # for programs outside pytest, such as tests.browser.agreement
    return _server


def stop_server() -> None:
    """Ends the server, if it was started."""
    global _server
    if _server is not None:
        _server.close()
    _server = None


class Command:
    """A command that was started; the arguments are those of `run`."""

    def __init__(self, *words: str, cwd: Path = BUNDLE, env: Mapping[str, str] | None = None) -> None:
        self.words = words
        self.output = tempfile.TemporaryDirectory()
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(server().path)
        request = {"words": words, "cwd": str(cwd), "env": dict(env or {}), "output": self.output.name}
        self.connection.sendall(json.dumps(request).encode() + b"\n")

    def wait(self, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Returns what `subprocess.run` would."""
        self.connection.settimeout(timeout)
        with self.connection, self.output:
            code = int(self.connection.makefile().readline())
            printed = [Path(self.output.name, name).read_text() for name in ("stdout", "stderr")]
        return subprocess.CompletedProcess(self.words, code, *printed)


def run(*words: str, timeout: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs `python -m WORDS` and waits for its end.

    Args:
        words: the module and its arguments.
        timeout: seconds after which the test fails.
        options: `cwd`, the working folder (by default the bundle's), and `env`, environment variables to add.
    """
    return Command(*words, **options).wait(timeout)


def _serve(path: str) -> None:
    for name in PRELOADED:
        with contextlib.suppress(ImportError):  # an optional one
            __import__(name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{path}.bound")
    listener.listen()
    os.rename(f"{path}.bound", path)  # by which the tests know that it listens
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _answer(connection)
        connection.close()


def _answer(connection: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    request = json.loads(connection.makefile().readline())
    child = os.fork()
    if child == 0:
        connection.close()
        _become(request)
    _, status = os.waitpid(child, 0)
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(request: Mapping[str, Any]) -> None:
    """Makes this process the command, and ends it."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{request['output']}/{name}", os.O_WRONLY | os.O_CREAT), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    sys.path[0] = request["cwd"]  # as `python -m` does
    code = _run_module(request["words"])
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _run_module(words: Sequence[str]) -> int:
    sys.argv = list(words)
    try:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0


if __name__ == "__main__":
    _serve(sys.argv[1])
