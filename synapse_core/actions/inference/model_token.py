"""Tokens that choose the model of a request and say that its sender may ask, signed with a secret."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import jwt

from synapse_core.environment import default_home
from synapse_core.errors import InvalidModelToken

_ALGORITHM = "HS256"
_SECRET_BYTES = 32
# Whoever asks for the same model within it gets the same token, so that Serve finds the replica that has it.
_ROUND_SECONDS = 3600
_MOST_BYTES = 2048


def create_serve_multiplexed_model_id(
    model_id: int | str,
    *,
    audience: str,
    secret: str | None = None,
    valid_seconds: float = 3600.0,
) -> str:
    """Return the value of the header `serve_multiplexed_model_id` of requests for a model.

    audience: the name of the deployment. secret: that of the home by default. The token is valid for
    `valid_seconds` at least, and for an hour more at most.
    """
    until = time.time() + valid_seconds
    claims = {
        "model": str(model_id),
        "aud": audience,
        "exp": int(until // _ROUND_SECONDS + 1) * _ROUND_SECONDS if valid_seconds > 0 else int(until),
    }
    return jwt.encode(claims, secret or home_secret(), algorithm=_ALGORITHM)


def read_model_id(token: str, *, audience: str, secret: str) -> tuple[str, float]:
    """Return the model of a token, and until when it is valid (seconds since 1970).

    Raises InvalidModelToken for one that is missing, forged, expired or made for another deployment.
    """
    if not token:
        raise InvalidModelToken(
            f"Requests to the deployment {audience!r} need a token.",
            hint="call_deployment sends one; create_serve_multiplexed_model_id makes one, in this home.",
        )
    try:
        if len(token) > _MOST_BYTES:
            raise jwt.InvalidTokenError("it is too long")
        claims = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            audience=audience,
            options={"require": ["exp", "aud", "model"]},
        )
    except jwt.InvalidTokenError as error:
        raise InvalidModelToken(
            f"The token is not valid for the deployment {audience!r}: {error}.",
            hint="Make a new one with the secret of the home that deployed it.",
        ) from None
    return str(claims["model"]), float(claims["exp"])


def home_secret(home: Path | None = None) -> str:
    """Return the secret of a home, made once: a file that only this user can read."""
    path = (home or default_home()) / "serve" / "secret"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        mine = path.with_name(f".secret.{secrets.token_hex(4)}")
        descriptor = os.open(mine, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(_SECRET_BYTES))
        try:
            os.link(mine, path)  # the first one stays, whoever comes at the same time
        except FileExistsError:
            return path.read_text()
        finally:
            mine.unlink()
    return path.read_text()
