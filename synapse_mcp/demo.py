"""The demonstration: a real client starts the real server, trains on Ray and watches it learn."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from synapse_mcp.settings import Settings

PLUGIN, ACTION = "digits_classifier", "train"
ACCURACY_WANTED = 0.95
# What can be done with the images that were added: plugin, action, what it does.
NEXT = (
    ("coco_export", "export", "the annotated tasks as a COCO dataset"),
    ("pre_annotate", "train", "a model of the ground truth version"),
    ("pre_annotate", "annotate", "boxes of that model on the tasks that have none"),
    ("folder_upload", "upload", "more images, from a folder"),
)


def run_demo(console: Console) -> int:
    """Run the demonstration in a home of its own, and leave nothing running. Returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="synapse-demo-") as home:
        try:
            return anyio.run(_demonstrate, console, Path(home))
        finally:
            _stop_cluster(Path(home))


def show_seeded(settings: Settings, console: Console) -> None:
    """Fill the home's backend with images, and tell what is there and what can be done with it.

    Raises what `seed_home` does.
    """
    from synapse_mcp.seed import seed_home  # Pillow and SQLAlchemy, for this alone

    found = seed_home(settings)
    version = found.version
    counts = ", ".join(f"{count} {split}" for split, count in sorted(version.counts.items()))
    console.print(
        f"{'Added to' if found.is_new else 'Nothing to add to'} {settings.home}:\n"
        f"  data collection {found.collection.id} {found.collection.name!r}: {found.data_units} images\n"
        f"  project {found.project.id} {found.project.name!r}: {found.tasks} tasks, "
        f"{found.open_tasks} of them without annotations\n"
        f"  ground truth version {version.id} '{version.dataset} {version.version}': {counts}\n"
        "Next:",
        highlight=False,
        soft_wrap=True,
    )
    for plugin, action, does in NEXT:
        command = f"synapse-mcp run {plugin} {action}"
        console.print(f"  {command:<40} [dim]# {does}[/dim]", highlight=False, soft_wrap=True)


async def _demonstrate(console: Console, home: Path) -> int:
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "synapse_mcp"],
        env={**os.environ, "SYNAPSE_HOME": str(home)},
    )
    console.print("[bold]1.[/bold] Starting the server (python -m synapse_mcp) and a client.")
    async with Client(parameters) as client:
        plugins = await _call(client, "list_plugins", {})
        console.print(
            f"[bold]2.[/bold] list_plugins: {', '.join(each['code'] for each in plugins['plugins'])}"
        )
        described = await _call(client, "describe_plugin", {"plugin": PLUGIN, "action": ACTION})
        parameters_taken = ", ".join(described["params_schema"]["properties"])
        console.print(f"[bold]3.[/bold] describe_plugin {PLUGIN}/{ACTION} takes: {parameters_taken}")
        console.print("[bold]4.[/bold] run_action on Ray (a local cluster starts once, about 10 s):")
        run = await _train(client, console)
        console.print("[bold]5.[/bold] get_run_logs, the last lines:")
        log = await client.call_tool("get_run_logs", {"run_id": run["run_id"], "tail": 6})
        lines = "\n".join(f"   {line}" for line in _text(log).splitlines())
        console.print(lines, highlight=False, markup=False, soft_wrap=True)
    if run["state"] != "succeeded":
        console.print(f"[red]The run {run['state']}: {run.get('failure')}[/red]")
        return 1
    accuracy = run["result"]["test_accuracy"]
    console.print(f"[bold]6.[/bold] Metrics: {run['metrics']}", highlight=False)
    console.print(
        f"[bold green]Test accuracy {accuracy:.4f}[/bold green] on {run['result']['test_scans']} scans that "
        f"it had not seen, after {run['elapsed_seconds']:.1f} s on Ray."
    )
    return 0 if accuracy >= ACCURACY_WANTED else 1


async def _train(client: Client, console: Console) -> dict[str, Any]:
    """Run the action with a live bar and return the run when it has ended."""
    columns = (
        TextColumn("   {task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("queued", total=100)

        async def show(progress: float, total: float | None, message: str | None) -> None:
            words = (message or "").partition(" ")[2] or "running"
            bar.update(task, completed=progress, description=words[:60])

        arguments = {"plugin": PLUGIN, "action": ACTION, "mode": "task", "wait_seconds": 50}
        run = await _call(client, "run_action", arguments, show)
        while not run["done"]:
            waiting = {"run_id": run["run_id"], "wait_seconds": 50}
            run = await _call(client, "get_run", waiting, show)
        bar.update(task, completed=run["progress"]["fraction"] * 100, description=run["state"])
    return run


async def _call(client: Client, tool: str, arguments: dict[str, Any], show: Any = None) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments, progress_callback=show)
    if result.is_error:
        raise SystemExit(f"{tool} failed: {_text(result)}")
    structure: dict[str, Any] = result.structured_content or {}
    return structure


def _text(result: Any) -> str:
    return "".join(part.text for part in result.content if part.type == "text")


def _stop_cluster(home: Path) -> None:
    from synapse_core.executors.ray import RayCluster  # only at the end of a demonstration

    RayCluster(home).stop()
