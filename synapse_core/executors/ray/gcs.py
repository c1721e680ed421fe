"""What a Ray cluster says of itself: questions to its control service (GCS), without importing ray.

`ray.init` waits for minutes on an address where no usable cluster is; these questions answer in
milliseconds or fail within the time they are given. The messages are read by hand, because Ray's own classes
for them cost the import of ray.
Source: Ray's protobuf/gcs_service.proto and gcs.proto, release 2.60.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from synapse_core.errors import RayUnavailable

_LOOPBACK = "[::ffff:127.0.0.1]"
_GIVE_GCS_ADDRESS = (
    "Give the address that `ray start --head` prints, usually port 6379; 8265 is the dashboard's and 10001 "
    "the Ray Client's."
)


class TokenRefused(RayUnavailable):
    """The cluster is there and wants a token that it was not given."""


@dataclass(frozen=True)
class GcsAnswer:
    """A cluster at this moment.

    token: the one of the offered tokens that was accepted, None where none is needed.
    nodes: the ids of its live nodes, in hex.
    totals: what each live node has, by resource name: "CPU", "GPU", "memory" (bytes) among them.
    total, free: the same amounts summed over the nodes.
    """

    ray_version: str
    token: str | None = None
    dashboard: str | None = None
    nodes: frozenset[str] = frozenset()
    totals: tuple[dict[str, float], ...] = ()
    total: dict[str, float] = field(default_factory=dict)
    free: dict[str, float] = field(default_factory=dict)


def ask(address: str, tokens: Sequence[str | None], seconds: float) -> GcsAnswer:
    """Return what the cluster at host:port says, trying the tokens in their order.

    seconds: the limit for all of it.
    Raises TokenRefused where every token was refused, RayUnavailable where nothing answers in time or
    something else than Ray does.
    """
    import grpc  # type: ignore[import-untyped]  # 80 ms, only to ask

    deadline = time.monotonic() + seconds
    refused: TokenRefused | None = None
    # A proxy that the environment names is for the internet, not for a cluster.
    with grpc.insecure_channel(reachable(address), [("grpc.enable_http_proxy", 0)]) as channel:
        for token in tokens:
            try:
                return _ask_all(channel, token, deadline)
            except grpc.RpcError as error:
                failure = _failure(address, error.code().name, error.details() or "", token, seconds)
                if not isinstance(failure, TokenRefused):
                    raise failure from error
                refused = failure
    raise refused or ValueError("no token to try, not even None")


def reachable(address: str) -> str:
    """Return the address under which this machine's loopback stays loopback.

    Ray replaces 127.0.0.1 and localhost by the machine's own address, where a head that only listens on
    loopback is never found. It does not know this spelling, which leads to the same sockets.
    """
    host, _, port = address.rpartition(":")
    return f"{_LOOPBACK}:{port}" if host in ("127.0.0.1", "localhost") else address


def plain(address: str) -> str:
    """Return an address as people write it, where `reachable` made another of it."""
    return address.replace(_LOOPBACK, "127.0.0.1")


def _ask_all(channel: Any, token: str | None, deadline: float) -> GcsAnswer:
    """Ask the five questions of one answer. Raises grpc.RpcError."""
    metadata = [("authorization", f"Bearer {token}")] if token else None

    def call(method: str, request: bytes = b"") -> dict[int, list[bytes]]:
        question = channel.unary_unary(f"/ray.rpc.{method}")
        return _fields(question(request, timeout=max(0.0, deadline - time.monotonic()), metadata=metadata))

    alive = call("NodeInfoGcsService/CheckAlive")
    dashboard = call("InternalKVGcsService/InternalKVGet", b"\x0a\x09dashboard\x12\x09dashboard")
    nodes = call("NodeInfoGcsService/GetAllNodeInfo")
    total = call("NodeResourceInfoGcsService/GetAllTotalResources")
    free = call("NodeResourceInfoGcsService/GetAllAvailableResources")
    totals = tuple(map(_resources, total.get(2, [])))
    return GcsAnswer(
        ray_version=_text(alive, 2) or "unknown",
        token=token,
        dashboard=_text(dashboard, 2),
        nodes=frozenset(_live_nodes(nodes.get(2, []))),
        totals=totals,
        total=_sum(totals),
        free=_sum(map(_resources, free.get(2, []))),
    )


def _failure(address: str, code: str, details: str, token: str | None, seconds: float) -> RayUnavailable:
    """Say in words why a question failed."""
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return TokenRefused(
            f"The Ray cluster at {address} asks for a token, and "
            + ("refuses the one that is set here." if token else "none is set here."),
            hint="Set RAY_AUTH_TOKEN_PATH to the file that holds the cluster's token, then start again.",
        )
    if code == "DEADLINE_EXCEEDED":
        return RayUnavailable(
            f"Ray was asked for at {address}; nothing there answered within {seconds:g} s.",
            hint=f"Check the address, and that no firewall is in between. {_GIVE_GCS_ADDRESS}",
        )
    if code == "UNAVAILABLE" and "HTTP/2" not in details:
        reason = details.rpartition(": ")[2] or "no reason given"
        return RayUnavailable(
            f"Ray was asked for at {address}; nothing answers there ({reason}).",
            hint="Check the address and that this cluster runs, or name no address to use a local cluster.",
        )
    return RayUnavailable(
        f"Ray was asked for at {address}; what answers there is not Ray's control service.",
        hint=_GIVE_GCS_ADDRESS,
    )


def _live_nodes(nodes: list[bytes]) -> Iterator[str]:
    for node in map(_fields, nodes):
        # Field 7 is the state: absent or 0 is ALIVE, 1 is DEAD. Dead nodes stay in the list for long.
        if node.get(7, [b"\x00"]) == [b"\x00"]:
            yield node[1][0].hex()


def _resources(node: bytes) -> dict[str, float]:
    """Return a node's amounts, a map<string, double> in its field 2."""
    amounts: dict[str, float] = {}
    for entry in map(_fields, _fields(node).get(2, [])):
        amounts[_text(entry, 1) or ""] = struct.unpack("<d", entry[2][0])[0] if 2 in entry else 0.0
    return amounts


def _sum(nodes: Iterable[dict[str, float]]) -> dict[str, float]:
    amounts: dict[str, float] = {}
    for node in nodes:
        for name, amount in node.items():
            amounts[name] = amounts.get(name, 0.0) + amount
    return amounts


def _text(message: dict[int, list[bytes]], number: int) -> str | None:
    values = message.get(number)
    return values[0].decode() if values else None


def _fields(message: bytes) -> dict[int, list[bytes]]:
    """Return the raw values of a protobuf message by field number.

    Source: protobuf.dev/programming-guides/encoding.
    """
    fields: dict[int, list[bytes]] = {}
    at = 0
    while at < len(message):
        key, start = _varint(message, at)
        match key & 7:
            case 0:
                end = _varint(message, start)[1]
            case 1:
                end = start + 8
            case 2:
                size, start = _varint(message, start)
                end = start + size
            case 5:
                end = start + 4
            case other:
                raise ValueError(f"no protobuf wire type {other}")
        fields.setdefault(key >> 3, []).append(message[start:end])
        at = end
    return fields


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the variable-length integer at a position, and the position after it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at += 1
        shift += 7
        if byte < 0x80:
            return value, at
