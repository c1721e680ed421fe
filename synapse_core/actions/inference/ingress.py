"""The routes of a BaseServeDeployment that brings none of its own. Imported in replicas only."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.responses import Response
from starlette.requests import Request

from synapse_core.actions.inference.serve import BaseServeDeployment
from synapse_core.errors import (
    BackendError,
    InferenceFailed,
    InputsRejected,
    InvalidModelToken,
    InvalidRequest,
    NotFound,
    SynapseError,
    Unavailable,
    ValidationError,
)

log = logging.getLogger("ray.serve")
_MOST_MESSAGE_CHARS = 2000


class BodyTooLarge(InputsRejected):
    """The request is longer than the deployment takes."""


def build_app(served: BaseServeDeployment) -> FastAPI:
    """Return the app: POST /predict, POST /probe and GET /health."""
    app = FastAPI(title=served.settings.name)

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        """{"inputs": […]} → {"results": […]}, one for each input, in their order."""
        try:
            token = _token_of(request)
            served.check_token(token)
            inputs = _inputs_of(await _body_of(request, served.most_body_bytes))
            return _answer(200, {"results": await served.answer(token, inputs)})
        except Exception as error:  # noqa: BLE001  # a plugin's model: the sender is told
            return _refusal(error)

    @app.post("/probe")
    async def probe(request: Request) -> Response:
        """What the deployment's own sample inputs give: the request that a new version has to answer."""
        try:
            token = _token_of(request)
            served.check_token(token)
            return _answer(200, {"results": await served.answer_samples(token)})
        except Exception as error:  # noqa: BLE001  # a plugin's model: the sender is told
            return _refusal(error)

    @app.get("/health")
    async def health() -> Response:
        """That this version is up."""
        return _answer(200, {"deployment": served.settings.name, "model": served.settings.model})

    return app


def _token_of(request: Request) -> str:
    named = request.headers.get("serve_multiplexed_model_id")
    if named:
        return named
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


async def _body_of(request: Request, most_bytes: int) -> bytes:
    """Return the body, read no further than it may be long."""
    parts = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most_bytes:
            raise BodyTooLarge(
                f"The request is longer than {most_bytes:,} bytes.", hint="Send fewer inputs at a time."
            )
        parts.append(part)
    return b"".join(parts)


def _inputs_of(body: bytes) -> list[Any]:
    try:
        sent = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputsRejected(f"The request is no JSON: {error}.", hint=_FORM) from None
    if not isinstance(sent, dict) or not isinstance(sent.get("inputs"), list):
        raise InputsRejected("The request has no list 'inputs'.", hint=_FORM)
    inputs: list[Any] = sent["inputs"]
    return inputs


_FORM = 'Send {"inputs": […]}, a list of what the model takes.'


def _refusal(error: Exception) -> Response:
    told: dict[str, Any]
    status, told = 500, {"code": InferenceFailed.code, "message": f"{type(error).__name__}: {error}"}
    if isinstance(error, SynapseError):
        status = _status_of(error)
        facts = {"code": error.code, "message": error.message, "hint": error.hint, "details": error.details}
        told = {name: value for name, value in facts.items() if value}
    elif isinstance(error, ValueError):
        status, told = 422, {"code": InputsRejected.code, "message": str(error) or type(error).__name__}
    if status >= 500:
        log.exception("A request failed")
    told["message"] = told["message"][:_MOST_MESSAGE_CHARS]
    return _answer(status, {"error": told})


def _status_of(error: SynapseError) -> int:
    if isinstance(error, InvalidModelToken):
        return 401
    if isinstance(error, BodyTooLarge):
        return 413
    if isinstance(error, InvalidRequest | ValidationError):
        return 422
    if isinstance(error, Unavailable):
        return 503
    if isinstance(error, NotFound):
        return 404
    return 502 if isinstance(error, BackendError) else 500


def _answer(status: int, content: Any) -> Response:
    return Response(
        msgspec.json.encode(content, enc_hook=_plain), status_code=status, media_type="application/json"
    )


def _plain(value: Any) -> Any:
    """Return arrays and their scalars as lists and numbers, pydantic models as mappings."""
    for name in ("model_dump", "tolist"):
        if callable(method := getattr(value, name, None)):
            return method()
    raise InferenceFailed(
        f"The results hold a {type(value).__name__}, which has no JSON form.",
        hint="infer should return plain data.",
    )
