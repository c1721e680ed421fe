"""`synapse-mcp convert` and `synapse-mcp inspect`: datasets from the command line, without a run."""

from __future__ import annotations

import json
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from synapse_core.datasets import ConversionResult, DatasetSummary, convert, inspect
from synapse_core.errors import LossyConversion, SynapseError
from synapse_core.plain_text import plain
from synapse_mcp.cli_text import console, errors, unmarked

# The exit code of a strict conversion that would lose something.
_LOSSY = 3

app = typer.Typer(pretty_exceptions_show_locals=False)

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="A folder, an annotation file or a URL.")]
SourceFormat = Annotated[str, typer.Option("--from", metavar="FORMAT", help="Detected where it is left out.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


@app.command("convert")
def convert_command(
    source: Source,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="coco, yolo, voc, dm_v2, …")],
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="A folder that is not there yet.")
    ] = None,
    source_format: SourceFormat = "auto",
    images: Annotated[str, typer.Option(help="link, copy or none.")] = "link",
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="Another choice, such as task=segment."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Write nothing where anything is lost.")] = False,
    workers: Annotated[str, typer.Option(help="Processes, auto, or ray.")] = "auto",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be lost, write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Convert a dataset, and tell what was lost. Exit code 3: strict, and something would be."""
    options: dict[str, Any] = {"images": images, "strict": strict, **_options(option or [])}
    options["workers"] = int(workers) if workers.isdigit() else workers
    columns = (TextColumn("converting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        # Refreshed by the thread that converts: with one of its own, no process could be forked.
        with Progress(*columns, console=errors, transient=True, auto_refresh=False) as bar:
            shown = bar.add_task("convert", total=None)
            result = convert(
                source,
                to,
                output,
                source_format=source_format,
                dry_run=dry_run,
                on_progress=lambda done, total: bar.update(shown, completed=done, total=total, refresh=True),
                **options,
            )
    except SynapseError as error:
        _fail(error)
    _print_json(result) if as_json else _print_result(result)


@app.command("inspect")
def inspect_command(source: Source, source_format: SourceFormat = "auto", as_json: AsJson = False) -> None:
    """Show what is in a dataset: format, splits, classes, objects and problems."""
    try:
        summary = inspect(source, source_format)
    except SynapseError as error:
        _fail(error)
    _print_json(summary) if as_json else _print_summary(summary)


def _options(pairs: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{pair!r} is not NAME=VALUE.")
        found[name] = value.split(",") if name == "classes" else _number(value)
    return found


def _number(value: str) -> Any:
    try:
        return float(value)
    except ValueError:
        return value


def _fail(error: SynapseError) -> None:
    errors.print(f"{error.code}: {plain(error.message)}", style="red", highlight=False, markup=False)
    if error.hint:
        errors.print(plain(error.hint), highlight=False, markup=False)
    raise typer.Exit(_LOSSY if isinstance(error, LossyConversion) else 1)


def _print_json(record: Any) -> None:
    console.print_json(json.dumps(msgspec.to_builtins(record)))


def _print_result(result: ConversionResult) -> None:
    losses = result.losses
    console.print(
        f"{result.source_format} -> {result.target_format}: {losses.items:,} items, {losses.written:,} of "
        f"{losses.seen:,} annotations written in {result.seconds:.2f} s"
        f"{', nothing lost' if losses.is_lossless else ''}.",
        highlight=False,
    )
    if losses.reasons:
        table = Table("reason", "count", "first", box=None)
        for code, count in losses.reasons.items():
            first = losses.examples[code][0] if losses.examples.get(code) else None
            table.add_row(
                code, f"{count:,}", "" if first is None else unmarked(f"{first.item} {first.message}")
            )
        console.print(table, soft_wrap=False)
    if losses.largest_error_pixels:
        console.print(
            f"Coordinates differ by at most {losses.largest_error_pixels:.2g} pixels.", highlight=False
        )
    if result.output is not None:
        for path in (result.config_path, result.losses_path):
            console.print(unmarked(path), highlight=False, soft_wrap=True)


def _print_summary(summary: DatasetSummary) -> None:
    console.print_json(json.dumps(msgspec.to_builtins(summary)))
