# SPDX-License-Identifier: Apache-2.0
"""Authentication, against a mock of Keycloak that signs real tokens."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest

from scripts.data.phantoms import make_cohort
from tests.label_app.opened_page import open_case, says
from tests.label_app.running_server import Server, needs_server

pytestmark = [needs_server, pytest.mark.label]
PEOPLE = {
    "ann": ["monailabel-annotator", "monailabel-user"],
    "rae": ["monailabel-annotator", "monailabel-reviewer", "monailabel-user"],
}


class Keycloak(BaseHTTPRequestHandler):
    """The three answers of a realm that MONAI Label asks for; every password is `right`."""

    key: Any = None
    lifetime = 3600

    def do_GET(self) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        base = f"http://{self.headers['Host']}/realms/monailabel"
        if self.path.endswith("openid-configuration"):
            self._answer(200, {"token_endpoint": f"{base}/token"})
        else:
            pem = self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
            self._answer(200, {"public_key": "".join(pem.splitlines()[1:-1])})

    def do_POST(self) -> None:
        form = {
            name: values[0]
            for name, values in parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode()).items()
        }
        if form["username"] not in PEOPLE or form["password"] != "right":
            self._answer(401, {"error": "invalid_grant"})
        else:
            self._answer(
                200, {"access_token": token(self.key, form["username"], self.lifetime), "token_type": "Bearer"}
            )

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *arguments: Any) -> None:
        pass


def token(key: Any, name: str, lifetime: int = 3600, algorithm: str = "RS256") -> str:
    import jwt

    payload = {"preferred_username": name, "realm_access": {"roles": PEOPLE[name]}, "exp": int(time.time()) + lifetime}
    return jwt.encode(payload, key, algorithm=algorithm)


@pytest.fixture(scope="module")
def keycloak() -> Iterator[ThreadingHTTPServer]:
    from cryptography.hazmat.primitives.asymmetric import rsa

    Keycloak.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    realm = ThreadingHTTPServer(("127.0.0.1", 0), Keycloak)
    threading.Thread(target=realm.serve_forever, daemon=True).start()
    yield realm
    realm.shutdown()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, keycloak: ThreadingHTTPServer) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("people")
    make_cohort(folder / "studies", cases=1, shape=(48, 48, 40))
    settings = {
        "MONAI_LABEL_AUTH_ENABLE": "true",
        "MONAI_LABEL_AUTH_REALM_URI": f"http://127.0.0.1:{keycloak.server_port}/realms/monailabel",
    }
    server = Server(folder, environment=settings)
    yield server
    server.process.kill()
    server.process.wait()


def sign_in(server: Server, name: str, password: str = "right") -> Any:
    import requests

    return requests.post(f"{server.url}/auth/token", data={"username": name, "password": password}, timeout=60)


def as_(person: str, **options: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(Keycloak.key, person, **options)}"}


def test_only_who_signed_in_sees_anything(server: Server) -> None:
    for path in ("review/cases", "datastore/?output=all", "info/", "review/cases/phantom_000/scan/t1"):
        assert server.get(path).status_code == 401, path
        assert server.get(path, headers={"Authorization": f"Bearer {sign_in(server, 'ann').json()['access_token']}"}).ok
    answer = sign_in(server, "ann", "wrong")
    assert (answer.status_code, "password is wrong" in answer.json()["detail"]) == (401, True)


def test_tokens_that_are_not_the_realms_are_refused(server: Server) -> None:
    import jwt
    from cryptography.hazmat.primitives.asymmetric import rsa

    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    unsigned = jwt.encode({"preferred_username": "rae", "exp": int(time.time()) + 99}, None, algorithm="none")
    shared = jwt.encode({"preferred_username": "rae", "exp": int(time.time()) + 99}, "x" * 32, algorithm="HS256")
    endless = jwt.encode({"preferred_username": "rae"}, Keycloak.key, algorithm="RS256")
    for bad in (token(other, "rae"), unsigned, shared, endless, "x", token(Keycloak.key, "rae", lifetime=-5)):
        answer = server.get("review/cases", headers={"Authorization": f"Bearer {bad}"})
        assert answer.status_code == 401, answer.text


def test_slicers_module_signs_in(server: Server) -> None:
    from monailabel.client.client import MONAILabelClient, MONAILabelClientException

    client = MONAILabelClient(server.url)
    assert client.auth_enabled()
    assert not client.auth_valid_token()
    with pytest.raises(MONAILabelClientException, match="password is wrong"):
        client.auth_token("ann", "wrong")
    client.update_auth(client.auth_token("ann", "right"))
    assert client.auth_valid_token()
    assert list(client.datastore()["objects"]) == ["phantom_000"]


def test_an_annotator_saves_and_a_reviewer_approves_under_their_own_names(server: Server) -> None:
    import requests

    from tests.label_app.running_server import drawing_file

    case = "phantom_000"
    grid = server.get(f"review/cases/{case}", headers=as_("ann")).json()["grid"]
    drawn = np.zeros(grid["shape"], np.uint8)
    content = drawing_file(drawn, np.array(grid["affine"]), case)

    def put(person: str, what: str, based_on: int) -> Any:
        query = {"based_on": based_on, "by": "somebody else"}
        url = f"{server.url}/review/cases/{case}/{what}"
        return requests.put(url, params=query, data=content, headers=as_(person), timeout=60)

    assert put("ann", "decision/reviewed", 0).status_code == 403
    assert put("ann", "label", 0).ok
    assert put("rae", "decision/reviewed", 1).ok
    details = server.get(f"review/cases/{case}", headers=as_("ann")).json()
    assert (details["versions"][0]["by"], details["decisions"][0]["by"]) == ("ann", "rae")


def test_the_page_asks_who_it_is(browser: Any, server: Server) -> None:
    page = browser.new_page()
    page.goto(f"{server.url}/review/")
    for password in ("wrong", "right"):
        page.wait_for_selector("#sign-in[open]", timeout=60_000)
        page.fill("[name=username]", "rae")
        page.fill("[name=password]", password)
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        if password == "wrong":
            says(page, "#sign-in", "password is wrong")
    says(page, "#person", "rae")
    open_case(page, "phantom_000")
    page.keyboard.press("a")
    page.wait_for_selector("#question[open]")  # for the label is empty
    page.click("#question button[value=ok]")
    says(page, "#origin", "approved")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with page.expect_download() as download:
        page.click("#export")
    assert download.value.suggested_filename == "phantom_000_v1.nii.gz"
    # the token travels in a header, never in an address
    assert [url for url in asked if "export" in url] == [f"{server.url}/review/cases/phantom_000/export/v1?"]
    page.close()


def test_a_realm_that_does_not_answer_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fastapi import HTTPException
    from monailabel.config import settings

    from scripts.label_app import people

    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_ENABLE", True)
    monkeypatch.setattr(settings, "MONAI_LABEL_AUTH_REALM_URI", "http://127.0.0.1:9/realms/x")
    for call in (lambda: people.current_user("x"), lambda: people.sign_in("a", "b")):
        with pytest.raises(HTTPException) as caught:
            call()
        assert (caught.value.status_code, "does not answer" in caught.value.detail) == (503, True)
