"""The job server of a Ray cluster: its REST interface, without importing ray.

Ray's own client costs 0.4 s and 60 MB, waits without a limit, prefers an address in RAY_ADDRESS to the one it
is given, and leaves out of an upload what .gitignore names.
Source: Ray's documentation, "Ray Jobs REST API", release 2.60.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from synapse_core.decoding import decoded
from synapse_core.errors import InvalidRequest, RayUnavailable

_ASK_SECONDS = 3.0
# A cluster that just came up first has to find the agent that takes jobs.
_SUBMIT_SECONDS = 30.0
_UPLOAD_SECONDS = 300.0
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_GIVE_URL = "Give the address of the cluster's dashboard, usually http://HOST:8265."
_GIVE_TOKEN = "Set RAY_AUTH_TOKEN_PATH to the file that holds the cluster's token, then start again."

Tokens = Callable[[], Sequence[str | None]]


class Job(msgspec.Struct, frozen=True):
    """What Ray says of a job. status: PENDING, RUNNING, SUCCEEDED, FAILED or STOPPED."""

    status: str
    message: str | None = None
    error_type: str | None = None
    driver_exit_code: int | None = None

    @property
    def has_ended(self) -> bool:
        return self.status in _ENDED


class _Version(msgspec.Struct, frozen=True):
    ray_version: str


class _Nodes(msgspec.Struct, frozen=True):
    data: dict[str, Any]


class JobServer:
    """One job server.

    url: as of a dashboard, http or https. tokens: gives those to try, in their order; None is no token.
    Every call raises RayUnavailable where the server cannot be used; each of them has a limit of time.
    """

    def __init__(self, url: str, tokens: Tokens) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidRequest(f"{url!r} is not the address of a Ray job server.", hint=_GIVE_URL)
        self.url = url.rstrip("/")
        self._tokens = tokens
        self._token: str | None = None
        self._is_known = False

    def check(self) -> None:
        """Return where a job server answers that lets us in; at once after the first time."""
        if self._is_known:
            return
        status, body = 0, b""
        for token in self._tokens():
            self._token = token
            status, body = self._request("GET", "/api/version")
            if status not in (401, 403):
                break
        self._let_in(status)
        try:
            decoded(body, _Version)
        except msgspec.MsgspecError:
            raise RayUnavailable(
                f"A Ray job server was asked for at {self.url}; what answers there is none.", hint=_GIVE_URL
            ) from None
        self._is_known = True

    def call(
        self, method: str, path: str, content: bytes | None = None, seconds: float = _ASK_SECONDS
    ) -> tuple[int, bytes]:
        """Return (status, answer) of any call of the cluster's REST API; it lets us in."""
        self.check()
        status, body = self._request(method, path, content, seconds)
        self._let_in(status)
        return status, body

    def submit(self, run_id: str, body: dict[str, Any]) -> bool:
        """Hand a job in. Returns False where one of this id is there already: nothing changed then.

        Raises InvalidRequest where the server refuses what it was given.
        """
        content = msgspec.json.encode({**body, "submission_id": run_id})
        status, answer = self.call("POST", "/api/jobs/", content, _SUBMIT_SECONDS)
        if status == 200:
            return True
        words = answer.decode(errors="replace")
        if "already exists" in words:
            return False
        told = re.findall(r"^\S*(?:Error|Exception): (.*)$", words, re.MULTILINE)
        reason = (told[-1] if told else words.strip())[:500]
        if status == 400:
            raise InvalidRequest(f"Ray's job server at {self.url} refuses the job: {reason}")
        raise RayUnavailable(
            f"Ray's job server at {self.url} could not take the job ({status}): {reason}",
            hint="Try again; if it stays so, read dashboard_agent.log of the cluster's head.",
        )

    def job(self, run_id: str) -> Job | None:
        """Return what is known of a job, None where there is none of this id."""
        status, body = self.call("GET", f"/api/jobs/{quote(run_id)}")
        return None if status == 404 else decoded(self._good(status, body), Job)

    def stop(self, run_id: str) -> None:
        """Ask a job to stop; the answer does not tell whether it does. One that is gone needs no stop."""
        status, body = self.call("POST", f"/api/jobs/{quote(run_id)}/stop")
        if status != 404:
            self._good(status, body)

    def delete(self, run_id: str) -> bool:
        """Have the server forget an ended job. Returns False where it knows none of this id."""
        status, body = self.call("DELETE", f"/api/jobs/{quote(run_id)}")
        if status == 404:
            return False
        if b"non-terminal state" in body:
            raise InvalidRequest(
                f"The job of run {run_id} has not ended.", hint="Stop it first, or wait for its end."
            )
        self._good(status, body)
        return True

    def log(self, run_id: str) -> str:
        """Return what Ray itself noted of a job; empty where it holds nothing that can be read."""
        status, body = self.call("GET", f"/api/jobs/{quote(run_id)}/logs")
        # 500: Ray cannot read a log that is not UTF-8.
        return str(msgspec.json.decode(body).get("logs") or "") if status == 200 else ""

    def upload(self, name: str, content: Callable[[], bytes]) -> str:
        """Give the cluster a package for runtime environments, unless it has it. Returns its URI."""
        path = f"/api/packages/gcs/{quote(name)}"
        status, body = self.call("GET", path)  # it is also kept for ten minutes more
        if status == 404:
            status, body = self.call("PUT", path, content(), _UPLOAD_SECONDS)
        self._good(status, body)
        return f"gcs://{name}"

    def nodes(self) -> list[dict[str, float]]:
        """Return what each live node has, by Ray's names: "CPU", "GPU", "memory" (bytes) among them."""
        status, body = self.call("GET", "/api/v0/nodes?detail=true&limit=1000")
        answer = decoded(self._good(status, body), _Nodes)
        found = answer.data["result"]["result"]
        return [node["resources_total"] for node in found if node["state"] == "ALIVE"]

    def _let_in(self, status: int) -> None:
        if status in (401, 403):
            self._is_known = False
            raise RayUnavailable(
                f"Ray's job server at {self.url} asks for a token, and "
                + ("refuses the one that is set here." if self._token else "none is set here."),
                hint=_GIVE_TOKEN,
            )

    def _good(self, status: int, body: bytes) -> bytes:
        if status != 200:
            raise RayUnavailable(
                f"Ray's job server at {self.url} failed ({status}): {body.decode(errors='replace')[-500:]}",
                hint="Try again; if it stays so, read the logs of the cluster's dashboard.",
            )
        return body

    def _request(
        self, method: str, path: str, content: bytes | None = None, seconds: float = _ASK_SECONDS
    ) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        headers = {"Content-Type": "application/json" if method == "POST" else "application/octet-stream"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        # No proxy, whatever the environment names: those are for the internet, not for a cluster.
        connection = (
            http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=seconds, context=ssl.create_default_context()
            )
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
        )
        try:
            connection.request(method, parts.path + path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except TimeoutError as error:
            raise RayUnavailable(
                f"Ray's job server was asked at {self.url}; nothing answered within {seconds:g} s.",
                hint=f"Check the address, and that no firewall is in between. {_GIVE_URL}",
            ) from error
        except OSError as error:
            raise RayUnavailable(
                f"Ray's job server was asked for at {self.url}; nothing answers there "
                f"({error.strerror or error}).",
                hint=f"Check the address and that the cluster runs. {_GIVE_URL}",
            ) from error
        except http.client.HTTPException as error:
            raise RayUnavailable(
                f"A Ray job server was asked for at {self.url}; what answers there is none.", hint=_GIVE_URL
            ) from error
        finally:
            connection.close()
