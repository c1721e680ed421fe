"""Errors about the backend."""

from __future__ import annotations

from synapse_core.errors.base import Conflict, NotFound, SynapseError, Unavailable


class NoBackend(Unavailable, RuntimeError):
    """The action needs a backend, and its run was given none."""

    code = "no_backend"
    retryable = False

    def __init__(self, action: str) -> None:
        super().__init__(
            f"{action} needs a backend, and this run has none.",
            hint="Run it with run_plugin, the command line or the server, which give a run its backend; or "
            "set `client` of the RuntimeContext that you make.",
        )


class BackendError(SynapseError):
    """A call that the backend did not carry out."""

    code = "backend_error"


class RecordNotFound(BackendError, NotFound):
    """The backend has no record of this kind with this id."""

    code = "unknown_record"

    def __init__(self, kind: str, asked: object, *, hint: str | None = None) -> None:
        super().__init__(f"The backend has no {kind} {asked!r}.", {"kind": kind, "asked": asked}, hint=hint)


class BackendRejected(BackendError):
    """The backend cannot take these values; the message says which and why."""

    code = "rejected"


class BackendConflict(BackendError, Conflict):
    """The backend holds something else under this name already."""

    code = "backend_conflict"


class BackendUnauthorized(BackendError):
    """The token is missing, wrong, expired, or may not do this."""

    code = "unauthorized"


class InvalidAnswer(BackendError):
    """What came back is not what a backend answers."""

    code = "invalid_answer"


class BackendUnavailable(BackendError, Unavailable):
    """The backend is down, too slow or failing; the same call can succeed later."""

    code = "backend_unavailable"


class RateLimited(BackendUnavailable):
    """The backend refuses more calls for now."""

    code = "rate_limited"
