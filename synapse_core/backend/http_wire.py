"""Calls over HTTP: one pool of connections, headers, repeats where they are safe, limits of time and size.

Knows no record. The token goes to the backend's own host and into nothing that is kept.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

from synapse_core.backend.http_answers import Answer, error_of, retry_after
from synapse_core.backend.http_token import Token, TokenAuth
from synapse_core.errors import (
    BackendError,
    BackendRejected,
    BackendUnavailable,
    InvalidAnswer,
    InvalidRequest,
)

T = TypeVar("T")
Body = Callable[[], AbstractContextManager[Mapping[str, Any]]]
Receive = Callable[[httpx.Response, Iterator[bytes]], bytes]

USUAL_READ_SECONDS = 15.0
_CONNECT_SECONDS = 5.0
# A page of 100 large annotations is a few megabytes.
MOST_ANSWER_BYTES = 128 * 1024 * 1024
_MOST_WAIT_SECONDS = 10.0
_FIRST_WAIT_SECONDS = 0.2
_BUSY = (502, 503, 504)
_SAFE = ("GET", "HEAD", "PUT", "DELETE")
# Calls with a deadline run in threads, because looking up a host's name cannot be interrupted.
_THREADS = 16


@dataclass(frozen=True)
class _Call:
    method: str
    url: str
    params: Any
    headers: Mapping[str, str]
    body: Body
    receive: Receive
    is_repeatable: bool
    read_seconds: float | None

    @property
    def asked(self) -> str:
        return f"{self.method} {self.url.partition('?')[0]}"


@dataclass(frozen=True)
class _Lost:
    """An attempt without an answer. may_have_arrived: whether the service can have carried it out."""

    error: BackendError
    may_have_arrived: bool
    is_final: bool = False


class Wire:
    """One service and the way to it. Safe from several threads.

    deadline_seconds: the limit of one call with all its repeats; `within()` makes several calls one.
    """

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        tenant: str | None,
        timeout: httpx.Timeout | float | None,
        retries: int,
        deadline_seconds: float | None,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self.base = _base(url)
        self._address = str(self.base)
        self.auth = TokenAuth(token, tenant)
        self._timeout = httpx.Timeout(
            httpx.Timeout(USUAL_READ_SECONDS, connect=_CONNECT_SECONDS) if timeout is None else timeout
        )
        self._retries = retries
        self._deadline_seconds = deadline_seconds
        self._closed = threading.Event()
        self._calling = threading.local()
        # Whether the service remembers the answers of calls that bear a key; it says so in every answer.
        self._keeps_keys = False
        self._threads = (
            None if deadline_seconds is None else ThreadPoolExecutor(_THREADS, "synapse-backend-call")
        )
        self._client = httpx.Client(
            auth=self.auth,
            timeout=self._timeout,
            follow_redirects=False,
            transport=transport,
            # A proxy of the environment must not get what is meant for this machine.
            trust_env=not _is_loopback(self.base.host),
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=32, max_keepalive_connections=32, keepalive_expiry=30),
        )

    def close(self) -> None:
        self._closed.set()
        self._client.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    @contextmanager
    def within(self) -> Iterator[None]:
        """Everything that is asked inside, by this thread, shares one deadline."""
        if getattr(self._calling, "until", None) is not None:
            yield
            return
        self._calling.until = self._deadline()
        try:
            yield
        finally:
            self._calling.until = None

    def address(self, told: str) -> str:
        """Return an address that the service told, whole. told: whole, or relative to the backend's own.

        Raises InvalidAnswer for one at another place: the token would go there.
        """
        try:
            url = self.base.join(told)
        except httpx.InvalidURL as error:
            raise InvalidAnswer(f"{self.base} answered with the address {told[:200]!r}: {error}") from error
        same_place = (url.scheme, url.host, url.port) == (self.base.scheme, self.base.host, self.base.port)
        if not same_place or not url.path.startswith(self.base.path) or url.userinfo:
            raise InvalidAnswer(
                f"{self.base} answered with the address {str(url.copy_with(query=None))[:200]!r}, "
                f"which is outside of the backend at {self.base}.",
                hint="Nothing was sent there. Check the address that the service gives for itself.",
            )
        return str(url)

    def send(
        self,
        method: str,
        path: str,
        *,
        params: Any = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        receive: Receive | None = None,
        is_repeatable: bool | None = None,
        read_seconds: float | None = None,
    ) -> Answer:
        """Ask, again where that is safe, and return the answer, which is a success.

        path: below the backend's address, quoted; or whole, as `address` gives it.
        body: opened anew for each attempt; gives httpx's own arguments. receive: reads the answer's body.
        is_repeatable: whether the service may get it twice; GET, PUT and DELETE may. Others bear a key.
        read_seconds: longer than usual, where the service has much to do.
        """
        if self._closed.is_set():
            raise InvalidRequest(f"The connection to the backend at {self.base} was closed.")
        url = path if path.startswith(self._address) else self._address + path
        sent = dict(headers or {})
        if is_repeatable is None:
            is_repeatable = method in _SAFE
        if method == "POST":
            sent["Idempotency-Key"] = uuid.uuid4().hex
        call = _Call(
            *(method, url, params, sent, body or (lambda: nullcontext({})), receive or _read_all),
            is_repeatable=is_repeatable,
            read_seconds=read_seconds,
        )
        until = getattr(self._calling, "until", None) or self._deadline()
        if self._threads is None or until is None:
            return self._repeated(call, until)
        running = self._threads.submit(self._repeated, call, until)
        try:
            return running.result(max(0.0, until - time.monotonic()))
        except TimeoutError as error:
            running.cancel()
            raise self._too_slow(call) from error

    def _deadline(self) -> float | None:
        return None if self._deadline_seconds is None else time.monotonic() + self._deadline_seconds

    def _repeated(self, call: _Call, until: float | None) -> Answer:
        may_have_arrived = False
        for attempt in range(self._retries + 1):
            came = self._attempt(call, until)
            wait = _FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.5, 1.0)
            if isinstance(came, _Lost):
                error, may_repeat = came.error, not came.is_final
                may_have_arrived = may_have_arrived or came.may_have_arrived
            else:
                if came.status < 300:
                    return came
                if came.status == 404 and call.method == "DELETE" and may_have_arrived:
                    return came  # an earlier attempt, whose answer was lost, has deleted it
                error = error_of(came)
                may_repeat = came.status in _BUSY or came.status == 429
                may_have_arrived = may_have_arrived or came.status in _BUSY
                wait = max(wait, retry_after(came) or 0.0)
            may_repeat &= call.is_repeatable or self._keeps_keys or not may_have_arrived
            may_repeat &= wait <= _MOST_WAIT_SECONDS and attempt < self._retries
            may_repeat &= until is None or time.monotonic() + wait < until
            if not may_repeat or self._closed.wait(wait):
                error.details["attempts"] = attempt + 1
                raise error
        raise AssertionError("every attempt ends in an answer or an error")

    def _attempt(self, call: _Call, until: float | None) -> Answer | _Lost:
        try:
            with call.body() as body:
                request = self._client.build_request(
                    *(call.method, call.url),
                    params=call.params,
                    headers=call.headers,
                    timeout=self._limits(call, until),
                    **body,
                )
                response = self._client.send(request, stream=True)
                with contextlib.closing(response):
                    self._keeps_keys = self._keeps_keys or "synapse-keeps-keys" in response.headers
                    return self._received(call, response, until)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return _Lost(self._unreachable(call, error), may_have_arrived=False)
        except httpx.TimeoutException:
            return _Lost(self._too_slow(call), may_have_arrived=True)
        except (httpx.NetworkError, httpx.ProxyError) as error:
            return _Lost(self._unreachable(call, error), may_have_arrived=True)
        except httpx.RemoteProtocolError as error:
            if "disconnected" in str(error) or "closed" in str(error):
                return _Lost(self._unreachable(call, error), may_have_arrived=True)
            return _Lost(self._nonsense(call, error), may_have_arrived=True, is_final=True)
        except httpx.LocalProtocolError as error:
            rejected = BackendRejected(
                f"{call.asked} could not be sent: {self.auth.without_secrets(str(error))[:200]}",
                hint="Did a file change while it was sent?",
            )
            return _Lost(rejected, may_have_arrived=False, is_final=True)
        except httpx.DecodingError as error:
            return _Lost(self._nonsense(call, error), may_have_arrived=True, is_final=True)

    def _received(self, call: _Call, response: httpx.Response, until: float | None) -> Answer:
        receive = call.receive if response.status_code < 300 else _read_all
        body = receive(response, _chunks(response, until))
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(call.asked, response.status_code, headers, body, self.auth.without_secrets)

    def _limits(self, call: _Call, until: float | None) -> httpx.Timeout:
        """Return the seconds that each part of an attempt may take."""
        if call.read_seconds is None and until is None:
            return self._timeout
        limits = self._timeout.as_dict()
        if call.read_seconds is not None and limits["read"] is not None:
            limits["read"] = max(limits["read"], call.read_seconds)
        if until is not None:
            left = max(0.01, until - time.monotonic())
            limits = {name: left if usual is None else min(usual, left) for name, usual in limits.items()}
        return httpx.Timeout(**limits)

    def _unreachable(self, call: _Call, error: Exception) -> BackendUnavailable:
        return BackendUnavailable(
            f"The backend at {self.base} does not answer: {call.asked}: {error or type(error).__name__}",
            {"url": str(self.base)},
            hint="Check that the service runs and that its address is right, then call again.",
        )

    def _too_slow(self, call: _Call) -> BackendUnavailable:
        limit = "in time" if self._deadline_seconds is None else f"within {self._deadline_seconds:g} s"
        return BackendUnavailable(
            f"The backend at {self.base} did not answer {limit}: {call.asked}.",
            {"url": str(self.base)},
            hint="Call again later; the service may have much to do.",
        )

    def _nonsense(self, call: _Call, error: Exception) -> InvalidAnswer:
        return InvalidAnswer(
            f"{call.asked} was answered with what is no HTTP: {self.auth.without_secrets(str(error))[:200]}",
            hint="Check that the address and its port are those of a Synapse backend.",
        )


def _chunks(response: httpx.Response, until: float | None) -> Iterator[bytes]:
    for chunk in response.iter_bytes():
        if until is not None and time.monotonic() > until:
            raise httpx.ReadTimeout("the answer came too slowly", request=response.request)
        yield chunk


def _read_all(response: httpx.Response, chunks: Iterator[bytes]) -> bytes:
    """Return the body of an answer. Raises InvalidAnswer for one that is too large to hold."""
    told = response.headers.get("content-length", "")
    if told.isdigit() and response.request.method != "HEAD":
        _check_size(response, int(told))
    parts = []
    size = 0
    for chunk in chunks:
        size += len(chunk)
        _check_size(response, size)
        parts.append(chunk)
    return b"".join(parts)


def _check_size(response: httpx.Response, size_bytes: int) -> None:
    if size_bytes > MOST_ANSWER_BYTES:
        raise InvalidAnswer(
            f"{response.request.method} {response.url.copy_with(query=None)} answered more than "
            f"{MOST_ANSWER_BYTES >> 20} MB.",
            hint="Ask for less at once, with a filter.",
        )


def _base(url: str) -> httpx.URL:
    """Return the address of a backend, with a slash at its end. Raises InvalidRequest for what is none."""
    try:
        base = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise InvalidRequest(f"The address of the backend is no URL: {error}") from error
    has_more = base.userinfo or base.query or base.fragment or "%" in base.host
    if base.scheme not in ("http", "https") or not base.host or has_more:
        raise InvalidRequest(
            f"{base.scheme}://{base.host} cannot be the address of a backend: it has to be http:// or "
            "https:// with a host, and without a user, a query or a fragment.",
            hint="Give an address like https://api.example.org/v1; the token is given apart from it.",
        )
    return base.copy_with(path=f"{base.path.rstrip('/')}/")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
