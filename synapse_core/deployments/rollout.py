"""Rollout: a new version comes up beside the one that serves, answers a request, and only then takes over."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec

from synapse_core.actions.turns import turn_at
from synapse_core.deployments.plan import Plan
from synapse_core.deployments.serve_server import Served, ServeServer
from synapse_core.errors import Conflict, DeploymentFailed, RayUnavailable, SynapseError
from synapse_core.executors.base import Notify

START_SECONDS = 600.0
_SWAP_SECONDS = 60.0
_GONE_SECONDS = 60.0
# Whoever stops a deployment does not wait for long; Serve goes on with it.
_WITHDRAWN_SECONDS = 5.0
# Each look costs the cluster some 20 ms of the processor on which the replicas start.
_LOOK_SECONDS = 0.2
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Outcome(msgspec.Struct, frozen=True):
    """replaced: the version that it took the place of. seconds: how long the first answer took."""

    plan: Plan
    url: str
    replaced: int | None
    probe_seconds: float


class Rollout:
    """One version's way to being the one that answers.

    plan: its version is chosen here. probe: asks the version at a URL, returns in how many seconds it
    answered, raises a SynapseError where it does not. check: called while waiting; what it raises ends it.
    """

    def __init__(
        self,
        server: ServeServer,
        plan: Plan,
        probe: Callable[[str], float],
        check: Callable[[], None],
        notify: Notify,
    ) -> None:
        self._server = server
        self._plan = plan
        self._probe = probe
        self._check = check
        self._notify = notify
        self._live: Plan | None = None

    def run(self, start_seconds: float = START_SECONDS) -> Outcome:
        """Carry it out. Whatever is raised, what served before serves on, and the new version is gone.

        Raises DeploymentFailed with the replica's own words, Conflict where the address belongs to another.
        """
        with turn_at(Path(self._plan.home, "serve", self._plan.name), self._check):
            return self._carry_out(start_seconds)

    def _carry_out(self, start_seconds: float) -> Outcome:
        live = self._live = self._begin()
        is_done = False
        try:
            route = self._plan.route if live is None else self._plan.staging_route
            self._notify(f"Version {self._plan.version} of {self._plan.name} starts.")
            self._until_running(start_seconds)
            self._until_routed(route)
            seconds = self._answered(route)
            if live is not None:
                self._notify(f"Version {self._plan.version} has answered; it takes the place of the old one.")
                self._take_over()
                seconds = self._answered(self._plan.route)
            is_done = True
        finally:
            if not is_done:
                self._withdraw(live)
        self._retire()
        url = self._server.url + self._plan.route
        return Outcome(self._plan, url, None if live is None else live.version, seconds)

    def _begin(self) -> Plan | None:
        """Have the version started. Returns the one that serves, None where there is none."""
        found: list[Plan] = []

        def work(applications: dict[str, Served]) -> list[dict[str, Any]]:
            self._require_free_route(applications)
            plans = [each.plan for each in applications.values() if each.plan and each.is_live]
            found.extend(plan for plan in plans if plan.name == self._plan.name)
            versions = [
                int(name.rpartition("--")[2])
                for name in applications
                if re.fullmatch(re.escape(self._plan.name) + r"--\d+", name)
            ]
            version = max([self._plan.version - 1, *versions]) + 1
            self._plan = msgspec.structs.replace(self._plan, version=version)
            # What a killed rollout left; one that is still at work has the turn at this name.
            serving = {plan.application for plan in found}
            left = [one for one in self._others(applications) if one.application not in serving]
            kept = kept_configs(applications, without=left)
            return [*kept, self._plan.config(self._plan.staging_route if found else self._plan.route)]

        self._server.change(work)
        return found[0] if found else None

    def _require_free_route(self, applications: dict[str, Served]) -> None:
        for each in applications.values():
            other = each.plan.name if each.plan else each.name
            if other != self._plan.name and each.route_prefix == self._plan.route:
                raise Conflict(
                    f"The address {self._plan.route} belongs to {other!r}.",
                    {"route": self._plan.route, "deployment": other},
                    hint="Choose another name or route_prefix, or delete that one first.",
                )

    def _until_running(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while True:
            self._check()
            served = self._server.applications().get(self._plan.application)
            if served is not None and served.status == "RUNNING":
                return
            if served is not None and served.has_failed:
                raise self._failed("did not start", own_words(served.words), served.words)
            if time.monotonic() > deadline:
                words = own_words(served.words) if served is not None else "Serve does not know of it."
                raise self._failed(
                    f"was not up after {seconds:g} s", words or "its replicas are still starting"
                )
            time.sleep(_LOOK_SECONDS)

    def _until_routed(self, route: str) -> None:
        """Wait until the proxy knows the route, which it learns a moment after the replicas are up."""
        deadline = time.monotonic() + _SWAP_SECONDS
        with httpx.Client(trust_env=False, timeout=5.0) as client:
            while True:
                self._check()
                with suppress(httpx.HTTPError, ValueError):
                    told = client.get(f"{self._server.url}/-/routes").json()
                    if told.get(route) == self._plan.application:
                        return
                if time.monotonic() > deadline:
                    raise self._failed("cannot be reached", f"Serve's proxy does not know {route}")
                time.sleep(_LOOK_SECONDS / 10)

    def _answered(self, route: str) -> float:
        try:
            return self._probe(self._server.url + route)
        except SynapseError as error:
            raise self._failed("did not answer its first request", error.message) from error

    def _take_over(self) -> None:
        """Move the addresses. What is being answered is answered by the one that began it."""

        def work(applications: dict[str, Served]) -> list[dict[str, Any]]:
            old = self._others(applications)
            return [
                *kept_configs(applications, without=[*old, self._plan]),
                # The one that goes comes first: no address belongs to two.
                *(_moved(applications, each, each.staging_route) for each in old),
                _moved(applications, self._plan, self._plan.route),
            ]

        self._server.change(work)
        self._until_routed(self._plan.route)

    def _withdraw(self, live: Plan | None) -> None:
        """Take the new version away, and give the old one its address back where it had left it."""

        def work(applications: dict[str, Served]) -> list[dict[str, Any]]:
            kept = kept_configs(applications, without=[self._plan, live])
            is_there = live is not None and live.application in applications
            return [*kept, _moved(applications, live, live.route)] if live and is_there else kept

        with suppress(RayUnavailable):  # its cluster is gone, and the version with it
            self._server.change(work)
            until_gone(self._server, [self._plan.application], lambda: None, _WITHDRAWN_SECONDS)

    def _retire(self) -> None:
        """Take the other versions away, and wait until what they were answering is answered."""
        old: list[str] = []

        def work(applications: dict[str, Served]) -> list[dict[str, Any]]:
            mine = self._others(applications)
            old.extend(each.application for each in mine)
            return kept_configs(applications, without=mine)

        if self._others(self._server.applications()):
            self._server.change(work)
        until_gone(self._server, old, self._check)

    def _others(self, applications: dict[str, Served]) -> list[Plan]:
        """Return the other versions of this deployment."""
        return [
            each.plan
            for each in applications.values()
            if each.plan and each.plan.name == self._plan.name and each.name != self._plan.application
        ]

    def _failed(self, what: str, words: str, log: str = "") -> DeploymentFailed:
        told = f"Version {self._plan.version} of {self._plan.name!r} {what}: {words}"
        return DeploymentFailed(
            told,
            {"deployment": self._plan.name, "version": self._plan.version, "log": _ANSI.sub("", log)[-3000:]},
            hint=(f"Version {self._live.version} serves on. " if self._live else "It was taken away again. ")
            + "Correct the plugin or choose another model, then deploy again.",
        )


def until_gone(
    server: ServeServer, names: list[str], check: Callable[[], None], seconds: float = _GONE_SECONDS
) -> None:
    """Wait until these applications are gone; not for ever, as they go by themselves."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        check()
        if not server.applications().keys() & set(names):
            return
        time.sleep(_LOOK_SECONDS)


def own_words(message: str) -> str:
    """Return what a replica itself says in Serve's message: the error behind the last traceback."""
    plain = _ANSI.sub("", message).strip()
    _, found, trace = plain.rpartition("Traceback (most recent call last):\n")
    if not found:
        return plain[-1000:]
    lines = trace.splitlines()
    behind = next((n for n, line in enumerate(lines) if line and not line.startswith(" ")), 0)
    return "\n".join(lines[behind:]).strip()[:1000]


def kept_configs(applications: dict[str, Served], without: Sequence[Plan | None]) -> list[dict[str, Any]]:
    """Return the configs of the applications as they are, without those of these plans.

    What was deployed in another way than through the API is not in its list, and stays as it is.
    """
    left_out = {plan.application for plan in without if plan is not None}
    return [
        each.deployed_app_config
        for name, each in applications.items()
        if each.deployed_app_config is not None and each.source != "imperative" and name not in left_out
    ]


def _moved(applications: dict[str, Served], plan: Plan, route: str) -> dict[str, Any]:
    """Return the config of a version as Serve has it, at another address: nothing of it starts again."""
    config = applications[plan.application].deployed_app_config if plan.application in applications else None
    return {**config, "route_prefix": route} if config else plan.config(route)
