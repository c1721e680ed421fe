"""Registered models: listing them and adding one."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec
from mcp.server.mcpserver import Context
from mcp.types import ResourceLink
from pydantic import Field

from synapse_core.backend import Model
from synapse_core.home import Home
from synapse_core.models import list_models as models_of
from synapse_core.models import register_model as register
from synapse_mcp.allowed_paths import allowed
from synapse_mcp.app import App
from synapse_mcp.links import MOST_LINKS, link
from synapse_mcp.lookup import app_of
from synapse_mcp.records import fitted

# Not for the seconds of an upload, for those of a backend that does not answer.
ANSWER_SECONDS = 30.0
_METRICS_CHARS = 500


class ModelRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A model as an agent sees it. sha256: of its file. run_id: the run that made it."""

    id: int
    model: str
    size_bytes: int
    sha256: str
    plugin: str = ""
    run_id: str | None = None
    dataset: int | None = None
    metrics: Any = None
    description: str = ""


class ModelPage(msgspec.Struct, kw_only=True, omit_defaults=True):
    models: list[ModelRecord]
    next_cursor: int | None = None
    next: str

    foreign: ClassVar[tuple[str, ...]] = ("models",)

    def links(self) -> list[ResourceLink]:
        """Return where the first of them can be read again."""
        return [link("models", each.model) for each in self.models[:MOST_LINKS]]


class RegisteredModel(msgspec.Struct, kw_only=True):
    model: ModelRecord
    next: str

    foreign: ClassVar[tuple[str, ...]] = ("model",)

    def links(self) -> list[ResourceLink]:
        """Return where the model can be read again."""
        return [link("models", self.model.model)]


async def list_models(
    ctx: Context[App, Any],
    model: str | None = None,
    query: str | None = None,
    limit: Annotated[int, Field(ge=1, le=100)] = 20,
    cursor: int | None = None,
) -> ModelPage:
    """Registered models, newest first. model: by name."""

    def page(home: Home) -> ModelPage:
        backend = home.open_backend(deadline_seconds=ANSWER_SECONDS)
        try:
            found, more = models_of(backend, name=model, query=query, limit=limit, before=cursor)
        finally:
            backend.close()
        return ModelPage(
            models=[model_record(each) for each in found],
            next_cursor=more,
            next=f"deploy_model(model={name_of(found[0])!r}, name=…) deploys the first."
            if found
            else "register_model(name, source=run_id) registers what a training run has written.",
        )

    return await app_of(ctx).call(page)


async def register_model(
    ctx: Context[App, Any],
    name: str,
    source: str,
    version: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> RegisteredModel:
    """Register a model. source: run_id, run_id/artifact or path."""
    app = app_of(ctx)
    if source.startswith(("/", "~")):
        source = allowed(app.settings, source)

    def add(home: Home) -> RegisteredModel:
        backend = home.open_backend(deadline_seconds=ANSWER_SECONDS)
        try:
            made = register(home.runs, backend, name, source, version=version, metadata=metadata)
        finally:
            backend.close()
        return RegisteredModel(
            model=model_record(made),
            next=f"deploy_model(model={name_of(made)!r}, name={made.name!r}) deploys it.",
        )

    return await app.call(add)


def name_of(model: Model) -> str:
    """Return how a model is asked for: name@version."""
    return f"{model.name}@{model.version}"


def model_record(model: Model) -> ModelRecord:
    """Return a model as an agent sees it."""
    return ModelRecord(
        id=model.id,
        model=name_of(model),
        size_bytes=model.file.size_bytes,
        sha256=model.file.checksum,
        plugin=model.plugin,
        run_id=model.run_id,
        dataset=model.dataset,
        metrics=fitted(model.metrics, _METRICS_CHARS) or None,
        description=model.description[:300],
    )
