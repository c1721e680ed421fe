"""Models behind addresses: deploying, calling and deleting them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import msgspec
from mcp.server.elicitation import ElicitationResult
from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.types import CallToolResult, ResourceLink
from pydantic import Field

from synapse_core.errors import SynapseError
from synapse_core.executors.ray.capacity import check_fits
from synapse_core.home import Home
from synapse_core.models import deploy_request, find_model
from synapse_core.run_folder import Resources, RunRequest
from synapse_mcp.app import App
from synapse_mcp.asking import asks
from synapse_mcp.confirmation import Answer, Refused, agreed, can_ask, question
from synapse_mcp.links import MOST_LINKS, link
from synapse_mcp.lookup import app_of
from synapse_mcp.records import fitted, run_record
from synapse_mcp.tools.models import name_of
from synapse_mcp.tools.runs import WaitSeconds, outcome, wait_for

if TYPE_CHECKING:
    from synapse_core.deployments.deployments import Deployment

# Not for the seconds of an upload, for those of a backend that does not answer.
_ANSWER_SECONDS = 30.0
_RESULTS_CHARS = 3_500
_ERROR_CHARS = 600


class DeploymentRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A deployment as an agent sees it. error: the replica's own words."""

    name: str
    state: str
    version: int | None = None
    url: str | None = None
    model: str = ""
    plugin: str = ""
    run_id: str | None = None
    replicas: str = ""
    probe: Any = None
    error: str | None = None
    last_failure: Any = None
    coming: int | None = None


class DeploymentPage(msgspec.Struct, kw_only=True):
    deployments: list[DeploymentRecord]
    next: str

    foreign: ClassVar[tuple[str, ...]] = ("deployments",)

    def links(self) -> list[ResourceLink]:
        """Return where the first of them can be read again."""
        return [link("deployments", each.name) for each in self.deployments[:MOST_LINKS]]


class DeployPlan(msgspec.Struct, kw_only=True):
    """What deploy_model would do. replaces: the version that serves now."""

    dry_run: bool
    name: str
    model: str
    plugin: str
    action: str
    params: Any
    replaces: int | None
    next: str


class CallRecord(msgspec.Struct, kw_only=True):
    results: Any
    seconds: float
    next: str

    foreign: ClassVar[tuple[str, ...]] = ("results",)


class Deletion(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What would be, or was, deleted. confirm: what has to be given for it to be done."""

    # Said also where it is False: nobody may take what is asked about for what is gone.
    deleted: bool | None
    name: str
    state: str
    version: int | None = None
    model: str = ""
    replicas: int = 0
    confirm: str | None = None
    next: str


async def list_deployments(ctx: Context[App, Any], name: str | None = None) -> DeploymentPage:
    """Deployments: state, replicas, url, last probe, errors."""

    def page(home: Home) -> DeploymentPage:
        found = home.deployments.list() if name is None else [home.deployments.get(name)]
        return DeploymentPage(
            deployments=[deployment_record(each) for each in found],
            next=f"call_deployment(name={found[0].name!r}, inputs=[…]) asks the first."
            if found
            else "list_models() shows what deploy_model can deploy.",
        )

    return await app_of(ctx).call(page)


async def deploy_model(
    ctx: Context[App, Any],
    model: str,
    name: str,
    replicas: Annotated[int, Field(ge=1, le=100)] = 1,
    gpus: Annotated[float, Field(ge=0)] = 0,
    dry_run: bool = False,
    wait_seconds: WaitSeconds = 20,
) -> CallToolResult | DeployPlan:
    """Deploy a model (id, name, name@version); the old version serves until the new one has answered."""
    app = app_of(ctx)

    def request_of(home: Home) -> tuple[RunRequest, str]:
        backend = home.open_backend(deadline_seconds=_ANSWER_SECONDS)
        try:
            found = find_model(backend, model)
        finally:
            backend.close()
        # Before anything is started: what no node has is never to be had.
        check_fits(Resources(0, gpus), home.cluster.status(), "Each replica")
        request = deploy_request(
            home.registry, found, name, replicas=replicas, num_gpus=gpus, modes=home.runs.modes
        )
        return request, name_of(found)

    request, chosen = await app.call(request_of)
    if dry_run:
        return await app.call(lambda home: _plan(home, request, chosen, name))
    run = await app.call(lambda _: app.submit(request, None))
    run = await wait_for(ctx, run.run_id, wait_seconds)
    return await app.call(lambda home: outcome(run_record(run, home.runs, asks=asks(ctx)), run))


async def call_deployment(
    ctx: Context[App, Any],
    name: str,
    inputs: list[Any],
    timeout_seconds: Annotated[float, Field(gt=0, le=300)] = 30,
) -> CallRecord:
    """Send inputs to a deployment: one result for each."""

    def call(home: Home) -> CallRecord:
        answer = home.deployments.call(name, inputs, timeout_seconds)
        return CallRecord(
            results=fitted(answer.results, _RESULTS_CHARS),
            seconds=round(answer.seconds, 4),
            next=f"list_deployments(name={name!r}) tells its state.",
        )

    return await app_of(ctx).call(call)


async def ask_to_delete(context: Context[App, Any], name: str) -> Elicit[Answer] | Answer:
    """Return the question whether a deployment is to go; what is not there is not asked about."""
    if not can_ask(context):
        return question(context, None)
    try:
        found = await app_of(context).call(lambda home: home.deployments.get(name))
    except SynapseError:  # the tool itself tells it
        return question(context, None)
    told = f"{found.name!r} ({found.model_name}, version {found.version}, {found.state}"
    return question(context, f"Delete the deployment {told}, {found.replicas_wanted} replicas)?")


async def delete_deployment(
    ctx: Context[App, Any],
    name: str,
    answer: Annotated[ElicitationResult[Answer], Resolve(ask_to_delete)],
    confirm: str | None = None,
) -> Deletion:
    """Delete a deployment. Without confirm: what would go, and the word for it."""

    def delete(home: Home) -> Deletion:
        found = home.deployments.get(name)
        try:
            if not agreed(ctx, answer, confirm, found.mark, f"the deployment {name!r}"):
                call = f"delete_deployment(name={name!r}, confirm={found.mark!r})"
                return _deletion(found, False, f"If the user agrees: {call}.", found.mark)
        except Refused as refusal:
            return _deletion(found, False, refusal.said)
        return _deletion(home.deployments.delete(name), True, "list_deployments() shows what is left.")

    return await app_of(ctx).call(delete)


def deployment_record(found: Deployment) -> DeploymentRecord:
    """Return a deployment as an agent sees it."""
    return DeploymentRecord(
        name=found.name,
        state=found.state,
        version=found.version,
        url=found.url,
        model=found.model_name,
        plugin=found.plugin,
        run_id=found.run_id,
        replicas=f"{found.replicas} of {found.replicas_wanted}" if found.version is not None else "",
        probe=found.probe or None,
        error=None if found.error is None else found.error[:_ERROR_CHARS],
        last_failure=fitted(found.last_failure, _ERROR_CHARS) or None,
        coming=found.coming,
    )


def _deletion(found: Deployment, is_deleted: bool, next_call: str, confirm: str | None = None) -> Deletion:
    return Deletion(
        deleted=is_deleted,
        name=found.name,
        state=found.state,
        version=found.version,
        model=found.model_name,
        replicas=found.replicas_wanted,
        confirm=confirm,
        next=next_call,
    )


def _plan(home: Home, request: RunRequest, model: str, name: str) -> DeployPlan:
    serving = next((each for each in home.deployments.list() if each.name == name), None)
    return DeployPlan(
        dry_run=True,
        name=name,
        model=model,
        plugin=request.plugin,
        action=request.actions[0].name,
        params=request.params,
        replaces=None if serving is None else serving.version,
        next=f"deploy_model(model={model!r}, name={name!r}) deploys it; nothing was started.",
    )
