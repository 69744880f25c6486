# SPDX-License-Identifier: Apache-2.0
"""Who asks: the users of a Keycloak realm, where MONAI Label's authentication is on."""

from __future__ import annotations

from typing import Annotated, Any

import jwt
import requests
from fastapi import APIRouter, Depends, Form, HTTPException
from fastapi.security import OAuth2PasswordBearer
from monailabel.config import settings
from monailabel.endpoints.user.auth import DEFAULT_USER, Token, User, get_public_key, token_uri

ALGORITHMS = ["RS256"]  # Keycloak's; MONAI Label names none, which PyJWT refuses
router = APIRouter(prefix="/auth", tags=["Auth"])
_bearer = OAuth2PasswordBearer(tokenUrl="/auth/token", auto_error=settings.MONAI_LABEL_AUTH_ENABLE)


def current_user(token: Annotated[str | None, Depends(_bearer)]) -> User:
    """Returns who sends a request, in place of MONAI Label's `get_current_user`.

    Raises:
        HTTPException: 401 for a token that is missing, has expired or is not the realm's; 503 where the realm does
            not answer.
    """
    if not settings.MONAI_LABEL_AUTH_ENABLE:
        return DEFAULT_USER
    try:
        key = get_public_key(settings.MONAI_LABEL_AUTH_REALM_URI)
        payload = jwt.decode(str(token), key, algorithms=ALGORITHMS, options={"verify_aud": False, "require": ["exp"]})
    except jwt.InvalidTokenError as error:
        words = "You have been signed out" if isinstance(error, jwt.ExpiredSignatureError) else "Sign in first"
        raise HTTPException(401, words, headers={"WWW-Authenticate": "Bearer"}) from error
    except (requests.RequestException, KeyError) as error:
        raise _unreachable() from error
    roles: Any = payload
    for name in settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#"):
        roles = roles.get(name, {}) if isinstance(roles, dict) else {}
    return User(
        username=payload.get(settings.MONAI_LABEL_AUTH_TOKEN_USERNAME) or "unknown",
        email=payload.get(settings.MONAI_LABEL_AUTH_TOKEN_EMAIL),
        name=payload.get(settings.MONAI_LABEL_AUTH_TOKEN_NAME),
        roles=list(roles),
    )


@router.get("/", summary="Is authentication on?")
def is_on() -> dict[str, Any]:
    """Returns whether requests need a token, and of which realm."""
    realm, client = settings.MONAI_LABEL_AUTH_REALM_URI, settings.MONAI_LABEL_AUTH_CLIENT_ID
    return {"enabled": settings.MONAI_LABEL_AUTH_ENABLE, "client_id": client, "realm": realm}


@router.post("/token", response_model=Token, summary="Sign in")
def sign_in(username: Annotated[str, Form()], password: Annotated[str, Form()]) -> dict[str, Any]:
    """Returns the realm's token for a name and a password.

    Raises:
        HTTPException: 401 for a wrong name or password, 503 where the realm does not answer.
    """
    data = {"username": username, "password": password, "grant_type": "password"}
    try:
        answer = requests.post(
            token_uri(),
            data=data | {"client_id": settings.MONAI_LABEL_AUTH_CLIENT_ID},
            timeout=settings.MONAI_LABEL_AUTH_TIMEOUT,
        )
    except requests.RequestException as error:
        raise _unreachable() from error
    if answer.status_code in (400, 401):
        raise HTTPException(401, "The name or the password is wrong, or this account may not sign in here")
    if not answer.ok:
        raise HTTPException(503, f"The sign-in server answers {answer.status_code}; ask who runs it")
    return answer.json()


@router.get("/token/valid", summary="Is the token valid?")
def is_valid(user: Annotated[User, Depends(current_user)]) -> User:
    """Returns who signed in."""
    return user


def _unreachable() -> HTTPException:
    realm = settings.MONAI_LABEL_AUTH_REALM_URI
    return HTTPException(503, f"The sign-in server {realm} does not answer; ask who runs it")
