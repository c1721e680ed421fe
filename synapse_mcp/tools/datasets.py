"""Looking at annotated datasets, seeing them, and converting them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from mcp.server.mcpserver import Context
from mcp.types import CallToolResult, ResourceLink
from pydantic import Field

from synapse_core.home import Home
from synapse_core.runs.request import own_request
from synapse_mcp.allowed_paths import allowed
from synapse_mcp.app import App
from synapse_mcp.asking import asks
from synapse_mcp.boundary import picture
from synapse_mcp.links import link
from synapse_mcp.lookup import app_of
from synapse_mcp.records import run_record
from synapse_mcp.tools.runs import WaitSeconds, outcome, wait_for

_Format = Annotated[str, Field(max_length=40)]


class InspectedDataset(msgspec.Struct, kw_only=True):
    """What is in a dataset."""

    dataset: Any
    next: str

    foreign: ClassVar[tuple[str, ...]] = ("dataset",)

    def links(self) -> list[ResourceLink]:
        """Return where the formats can be read that it can be converted into."""
        return [link("formats")]


async def inspect_dataset(
    ctx: Context[App, Any],
    path: str,
    format: _Format = "auto",  # noqa: A002  # what agents call it
    options: dict[str, Any] | None = None,
) -> InspectedDataset:
    """An annotated dataset's format, splits, classes, objects, problems. path: or a URL."""
    app = app_of(ctx)
    path = allowed(app.settings, path)

    def look(_: Home) -> Any:
        from synapse_core.datasets import inspect  # with its formats, when one is first looked at

        return inspect(path, format, **(options or {}))

    return InspectedDataset(
        dataset=await app.call(look),
        next=f"preview_dataset(path={path!r}) shows it; convert_dataset(…, dry_run=true) tells what another "
        "format would lose.",
    )


async def preview_dataset(
    ctx: Context[App, Any],
    path: str,
    count: Annotated[int, Field(ge=1, le=36)] = 9,
    split: str | None = None,
    classes: list[str] | None = None,
    options: dict[str, Any] | None = None,
) -> CallToolResult:
    """A picture of a dataset's images with their annotations."""
    app = app_of(ctx)
    path = allowed(app.settings, path)

    def draw(_: Home) -> bytes:
        from synapse_core.datasets import preview  # and with it Pillow

        png: bytes = preview(path, count, split=split, classes=classes, **(options or {}))
        return png

    png = await app.call(draw)
    return picture(png, f"Images of {path} with their annotations; inspect_dataset counts them.")


async def convert_dataset(
    ctx: Context[App, Any],
    path: str,
    to: _Format,
    output: str | None = None,
    from_: Annotated[_Format, Field(alias="from")] = "auto",
    images: Literal["link", "copy", "none"] = "link",
    classes: list[str] | None = None,
    options: dict[str, Any] | None = None,
    dry_run: bool = False,
    wait_seconds: WaitSeconds = 20,
) -> CallToolResult:
    """Convert a dataset as a run that tells what was lost. to: coco, yolo, voc, dm_v2, ... output: a new
    folder. options: see get_guide. dry_run: only count losses."""
    app = app_of(ctx)
    path = allowed(app.settings, path)
    if output is not None:
        # Checked for a dry run too: it should not promise what the conversion itself would be refused.
        output = allowed(app.settings, output)
    output = None if dry_run else output
    choices = {"images": images, **(options or {})}
    if classes is not None:
        choices["classes"] = classes
    params = {
        "path": path,
        "to": to,
        "output": output,
        "source_format": from_,
        "dry_run": dry_run,
        "options": choices,
    }

    def begin(home: Home) -> str:
        from synapse_core.actions.convert_dataset import ENTRYPOINT  # with the datasets behind it
        from synapse_core.datasets import check_conversion

        check_conversion(path, to, output, source_format=from_, dry_run=dry_run, **choices)
        request = own_request("convert_dataset", ENTRYPOINT, params, modes=home.runs.modes)
        return app.submit(request, None).run_id

    run_id = await app.call(begin)
    run = await wait_for(ctx, run_id, wait_seconds)
    return await app.call(lambda home: outcome(run_record(run, home.runs, asks=asks(ctx)), run))
