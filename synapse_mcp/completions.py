"""Completions: what the arguments of prompts and the variables of resources can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mcp.server.context import ServerRequestContext
from mcp.types import (
    CompleteRequestParams,
    CompleteResult,
    Completion,
    ResourceTemplateReference,
)

from synapse_core.errors import SynapseError, nearest
from synapse_core.home import Home
from synapse_core.profile import profile_names
from synapse_mcp.app import App
from synapse_mcp.guides import topics
from synapse_mcp.reading import ReadingServer
from synapse_mcp.skills import SKILLS

# The protocol's own limit.
_MOST = 100
# A backend that is down must not hold up somebody who types.
_ANSWER_SECONDS = 2.0

# (home, what is typed, the other arguments) -> what the argument can be
Source = Callable[[Home, str, Mapping[str, str]], Iterable[str]]


def _plugins(home: Home, typed: str, others: Mapping[str, str]) -> Iterable[str]:
    return [plugin.code for plugin in home.registry.plugins()]


def _actions(home: Home, typed: str, others: Mapping[str, str]) -> Iterable[str]:
    code = others.get("code") or others.get("plugin")
    return home.registry.usable(code)[1].actions if code else []


def _runs(home: Home, typed: str, others: Mapping[str, str]) -> Iterable[str]:
    return home.runs.ids(typed) or home.runs.ids()


def _models(home: Home, typed: str, others: Mapping[str, str]) -> Iterable[str]:
    backend = home.open_backend(deadline_seconds=_ANSWER_SECONDS)
    try:
        return [f"{model.name}@{model.version}" for model in backend.list_models()][::-1]
    finally:
        backend.close()


def _deployments(home: Home, typed: str, others: Mapping[str, str]) -> Iterable[str]:
    return [deployment.name for deployment in home.deployments.list()]


def _topics(home: Home, typed: str, others: Mapping[str, str]) -> Iterable[str]:
    return topics()


def _formats(home: Home, typed: str, others: Mapping[str, str]) -> Iterable[str]:
    from synapse_core.datasets.formats import formats  # with the modules of all formats

    return [known.name for known in formats() if known.write]


def _profiles(home: Home, typed: str, others: Mapping[str, str]) -> Iterable[str]:
    return profile_names()


def _skills(home: Home, typed: str, others: Mapping[str, str]) -> Iterable[str]:
    return SKILLS


def _nothing(home: Home, typed: str, others: Mapping[str, str]) -> Iterable[str]:
    """Paths are the user's business, ideas too."""
    return ()


SOURCES: dict[str, Source] = {
    "code": _plugins,
    "plugin": _plugins,
    "action": _actions,
    "run_id": _runs,
    "id": _models,
    "name": _deployments,
    "topic": _topics,
    "to": _formats,
    "profile": _profiles,
    "path": _nothing,
    "dataset": _nothing,
    "idea": _nothing,
    "skill": _skills,
    "file": _nothing,
}


def register_completions(server: ReadingServer) -> None:
    """Answer `completion/complete` for every variable and argument in the table."""

    async def complete(ctx: ServerRequestContext[App], params: CompleteRequestParams) -> CompleteResult:
        if not _is_ours(server, params):
            return CompleteResult(completion=Completion(values=[]))
        source = SOURCES[params.argument.name]
        others = (params.context.arguments if params.context else None) or {}
        typed = params.argument.value

        def values(home: Home) -> list[str]:
            try:
                return list(source(home, typed, others))
            except SynapseError:
                return []  # what cannot be looked up now is nothing to complete; reading it tells why

        found = completed(typed, await ctx.lifespan_context.call(values))
        shown = found[:_MOST]
        return CompleteResult(
            completion=Completion(values=shown, total=len(found), has_more=len(found) > len(shown))
        )

    # The SDK's decorator keeps the context, and with it the home, from its handlers.
    server._lowlevel_server.add_request_handler("completion/complete", CompleteRequestParams, complete)


def completed(typed: str, known: Iterable[str]) -> list[str]:
    """Return what begins with `typed`, else what holds it, else the nearest, in the order of `known`."""
    unique = list(dict.fromkeys(known))
    lower = typed.lower()
    return (
        [value for value in unique if value.lower().startswith(lower)]
        or [value for value in unique if lower in value.lower()]
        or nearest(typed, unique)
    )


def _is_ours(server: ReadingServer, params: CompleteRequestParams) -> bool:
    """Return True for a variable of a resource of ours, or an argument of a prompt."""
    name = params.argument.name
    if isinstance(params.ref, ResourceTemplateReference):
        uri = params.ref.uri
        ours = [spec for spec in server.resource_table if spec.uri == uri]
        return any(name in spec.template.variable_names for spec in ours)
    prompt = server._prompt_manager.get_prompt(params.ref.name)
    takes = [argument.name for argument in (prompt.arguments if prompt else None) or ()]
    return name in takes and name in SOURCES
