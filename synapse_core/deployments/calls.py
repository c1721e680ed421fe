"""Requests to a deployment, as its callers make them."""

from __future__ import annotations

import time
from typing import Any

import httpx
import msgspec

from synapse_core.errors import DeploymentUnavailable, InferenceFailed, InputsRejected, InvalidModelToken

_CONNECT_SECONDS = 5.0
# Serve itself takes no more than it can hold; an answer of this size is a mistake.
_MOST_ANSWER_BYTES = 50_000_000


class Answer(msgspec.Struct, frozen=True):
    """results: one for each input, in their order. seconds: from the request to the whole answer."""

    results: list[Any]
    seconds: float


def send(url: str, inputs: list[Any] | None, token: str, timeout_seconds: float) -> Answer:
    """Return what the deployment at `url` (without /predict) answers.

    inputs: None asks it for what its own samples give.
    Raises InputsRejected where it does not take the inputs, InferenceFailed where its code fails,
    InvalidModelToken, and DeploymentUnavailable where nothing answers in time.
    """
    began = time.monotonic()
    # Serve reads this header itself, to find the replica that has the model.
    headers = {"serve_multiplexed_model_id": token, "Content-Type": "application/json"} if token else {}
    timeout = httpx.Timeout(timeout_seconds, connect=min(_CONNECT_SECONDS, timeout_seconds))
    try:
        # No proxy, whatever the environment names: those are for the internet, not for a cluster.
        with httpx.Client(timeout=timeout, trust_env=False) as client:
            content = b"{}" if inputs is None else msgspec.json.encode({"inputs": inputs})
            path = "probe" if inputs is None else "predict"
            answer = client.post(f"{url}/{path}", content=content, headers=headers)
    except httpx.TimeoutException as error:
        raise DeploymentUnavailable(
            f"The deployment at {url} did not answer within {timeout_seconds:g} s.",
            hint="Send fewer inputs, or raise timeout_seconds.",
        ) from error
    except httpx.HTTPError as error:
        raise DeploymentUnavailable(
            f"The deployment at {url} cannot be reached: {error}.",
            hint="list_deployments() tells its state.",
        ) from error
    if answer.status_code != 200:
        raise _failure(answer.status_code, answer.content, url)
    return Answer(_results_of(answer.content, url), time.monotonic() - began)


def _results_of(content: bytes, url: str) -> list[Any]:
    try:
        told = msgspec.json.decode(content)
    except msgspec.DecodeError:
        told = None
    results = told.get("results") if isinstance(told, dict) else None
    if not isinstance(results, list) or len(content) > _MOST_ANSWER_BYTES:
        raise InferenceFailed(
            f"The deployment at {url} did not answer with a list 'results'.",
            hint='Its route /predict should give {"results": […]}.',
        )
    return results


def _failure(status: int, content: bytes, url: str) -> Exception:
    """Return the error that an answer other than 200 stands for, in the replica's own words."""
    error: Any = None
    try:
        told = msgspec.json.decode(content)
        error = (told.get("error") or told.get("detail")) if isinstance(told, dict) else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = None
    if isinstance(error, dict) and isinstance(error.get("message"), str):
        words, hint = error["message"], error.get("hint")
        details = {"status": status, "code": error.get("code"), **(error.get("details") or {})}
    else:
        words, hint = str(error or content[:500].decode(errors="replace").strip()), None
        details = {"status": status}
    message = f"The deployment answered {status}: {words}"
    if status == 401:
        return InvalidModelToken(message, details, hint=hint)
    if status == 404 and error is None:
        return DeploymentUnavailable(
            f"Nothing answers at {url}/predict.", details, hint="list_deployments() tells its state."
        )
    if status < 500:
        return InputsRejected(message, details, hint=hint or "Correct the inputs; the deployment goes on.")
    if status == 503:
        return DeploymentUnavailable(message, details, hint="It is busy or starting; try again.")
    return InferenceFailed(
        message, details, hint=hint or "The deployment goes on; its log on the cluster has the traceback."
    )
