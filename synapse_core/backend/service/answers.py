"""What the service answers: records as JSON, errors as `{code, message, hint, details}` with their status."""

from __future__ import annotations

import msgspec
from fastapi import Request, Response
from starlette.exceptions import HTTPException

from synapse_core.errors import (
    BackendRejected,
    BackendUnauthorized,
    CapabilityError,
    Conflict,
    InvalidRequest,
    InvalidStorageName,
    NotFound,
    ProviderNotFound,
    RateLimited,
    RecordNotFound,
    StorageConfigError,
    StoragePermissionError,
    SynapseError,
    Unavailable,
)

# The first that fits; what fits none is a failure of the service.
STATUSES: tuple[tuple[type[SynapseError], int], ...] = (
    (RecordNotFound, 404),
    (Conflict, 409),
    (BackendUnauthorized, 401),
    (RateLimited, 429),
    (Unavailable, 503),
    (StoragePermissionError, 403),
    (StorageConfigError, 400),
    (InvalidStorageName, 400),
    (CapabilityError, 400),
    (ProviderNotFound, 400),
    (BackendRejected, 400),
    (InvalidRequest, 400),
    (NotFound, 404),
)


def json_answer(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")


def status_of(error: SynapseError) -> int:
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


def error_answer(status: int, code: str, message: str, hint: str | None = None, **more: object) -> Response:
    """Return an error as the service tells all of them. more: `details`."""
    told = {"code": code, "message": message, "hint": hint, "details": more.get("details") or {}}
    return Response(
        msgspec.json.encode(told, enc_hook=str, order="deterministic"), status, media_type="application/json"
    )


async def tell_error(_request: Request, error: Exception) -> Response:
    """Answer with an error of ours. Registered for SynapseError alone."""
    if not isinstance(error, SynapseError):
        raise error
    return error_answer(status_of(error), error.code, error.message, error.hint, details=error.details)


async def tell_http_error(request: Request, error: Exception) -> Response:
    """Answer where there is no such path, no such method, or too large a body."""
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "unknown_path", 405: "unknown_method", 413: "too_large"}.get(error.status_code, "rejected")
    return error_answer(error.status_code, code, f"{request.method} {request.url.path}: {error.detail}")


async def tell_failure(_request: Request, _error: Exception) -> Response:
    """Answer where the service itself failed; its log has the traceback, the answer nothing of it."""
    return error_answer(500, "internal_error", "The service failed.", "Its log has the reason.")
