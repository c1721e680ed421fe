"""The commands of `synapse-mcp` for people: the same runs, plugins and checks as the tools."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from synapse_core.errors import InvalidRequest, SynapseError
from synapse_core.home import Home
from synapse_core.pipelines import PipelineAction, PipelineProgress
from synapse_core.pipelines.display import display_progress
from synapse_core.pipelines.plan import find_named, plan_pipeline
from synapse_core.runs import Run
from synapse_core.runs.request import make_request
from synapse_mcp import cli_answers, cli_dashboard, cli_datasets, cli_doctor, cli_install, cli_plugins
from synapse_mcp.cli_text import console, unmarked
from synapse_mcp.demo import run_demo, show_seeded
from synapse_mcp.records import run_record
from synapse_mcp.settings import Settings

app = typer.Typer(
    name="synapse-mcp",
    help="Build, run and ship machine-learning plugins. Without a command: serve MCP over stdio.",
    pretty_exceptions_show_locals=False,
)
runs_app = typer.Typer(help="Look at recorded runs and stop them.", no_args_is_help=True)
ray_app = typer.Typer(help="The Ray cluster of this home.", no_args_is_help=True)
app.add_typer(runs_app, name="runs")
app.add_typer(ray_app, name="ray")
app.add_typer(cli_datasets.app)
app.add_typer(cli_plugins.app)
app.add_typer(cli_install.app)
app.add_typer(cli_dashboard.app)

Plugins = Annotated[
    list[str] | None, typer.Option("--plugins", metavar="DIR", help="A folder of plugins; may be repeated.")
]
RayAddress = Annotated[
    str | None, typer.Option("--ray-address", metavar="HOST:PORT", help="A Ray cluster to use.")
]
Profile = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="Settings of a profile; see the README.")
]


@contextmanager
def opened(
    plugins: list[str] | None = None, ray_address: str | None = None, profile: str | None = None
) -> Iterator[Home]:
    """Open the home; a foreseen failure becomes two lines and exit code 1."""
    with foreseen():
        # A command ends soon: what a dead server left is for a server to start.
        home = Settings.make(plugins or (), ray_address, profile).open_home(adopts=False)
        try:
            yield home
        finally:
            home.close()


@contextmanager
def foreseen() -> Iterator[None]:
    """Make two lines and exit code 1 of a foreseen failure."""
    try:
        yield
    except SynapseError as error:
        console.print(f"[red]{error.code}[/red]: {unmarked(error.message)}", highlight=False)
        if error.hint:
            console.print(f"[dim]{unmarked(error.hint)}[/dim]", highlight=False)
        raise typer.Exit(1) from None


@app.command()
def serve(plugins: Plugins = None, ray_address: RayAddress = None, profile: Profile = None) -> None:
    """Serve MCP over standard input and output; the same as no command at all."""


@app.command()
def demo(
    seed: Annotated[
        bool, typer.Option("--seed", help="Put real images into the home's backend instead.")
    ] = False,
) -> None:
    """Start the server, train a classifier on Ray through it, and watch it learn."""
    if not seed:
        raise typer.Exit(run_demo(console))
    with foreseen():
        show_seeded(Settings.make(), console)


@app.command()
def doctor(
    plugins: Plugins = None,
    ray_address: RayAddress = None,
    profile: Profile = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Check that everything a run needs is there; exit code 1 where something is not."""
    raise typer.Exit(cli_doctor.tell(cli_doctor.examine(plugins or (), ray_address, profile), as_json))


@app.command()
def run(
    plugin: str,
    action: str,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="KEY=VALUE", help="May be repeated.")
    ] = None,
    mode: Annotated[str, typer.Option(help="auto, local (process) or task (Ray).")] = "auto",
    timeout: Annotated[float | None, typer.Option(metavar="SECONDS", help="How long it may take.")] = None,
    plugins: Plugins = None,
    ray_address: RayAddress = None,
    profile: Profile = None,
) -> None:
    """Run an action and watch it. Ctrl-C leaves it running."""
    with opened(plugins, ray_address, profile) as home:
        request = make_request(
            home.registry,
            plugin,
            action,
            parse_params(param or []),
            mode=mode,
            modes=home.runs.modes,
            timeout_seconds=timeout,
        )
        submitted, _ = home.runs.submit(request)
        console.print(f"run {submitted.run_id}", highlight=False)
        with _leaving_it_running(submitted.run_id):
            ended = _watch(home, submitted.run_id, console)
        raise typer.Exit(_tell_end(ended, console))


@app.command()
def pipeline(
    actions: Annotated[list[str], typer.Argument(metavar="PLUGIN/ACTION…", help="In the order to run.")],
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", metavar="KEY=VALUE", help="May be repeated.")
    ] = None,
    mode: Annotated[str, typer.Option(help="auto, local (processes) or task (Ray).")] = "auto",
    resume_from: Annotated[
        str | None, typer.Option("--resume-from", metavar="RUN_ID", help="Skip what succeeded there.")
    ] = None,
    plugins: Plugins = None,
    ray_address: RayAddress = None,
    profile: Profile = None,
) -> None:
    """Run several actions as one run, and watch them. Ctrl-C leaves it running."""
    with opened(plugins, ray_address, profile) as home:
        request = plan_pipeline(
            lambda action: find_named(home.registry, home.runs.modes, action.action),
            [PipelineAction(action) for action in actions],
            parse_params(param or []),
            home.runs,
            mode=mode,
            resume_from=resume_from,
        )
        submitted, _ = home.runs.submit(request)
        console.print(f"run {submitted.run_id}", highlight=False)
        with _leaving_it_running(submitted.run_id):
            display_progress(_progress_of(home, submitted.run_id), console=console)
        raise typer.Exit(_tell_end(home.runs.get(submitted.run_id), console))


@app.command()
def answer(
    run_id: str,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE…", help="Without any the question is shown.")
    ] = None,
    decline: Annotated[bool, typer.Option("--decline", help="Say no instead.")] = False,
    profile: Profile = None,
) -> None:
    """Answer what a run asks."""
    with opened(profile=profile) as home:
        cli_answers.answer_run(home, run_id, values or [], decline)


@runs_app.command("list")
def list_runs(
    state: Annotated[str | None, typer.Option(help="active, succeeded, failed, …")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 20,
) -> None:
    """List runs, the newest first."""
    with opened() as home:
        found, _ = home.runs.list(state=state, limit=limit)
    table = Table("run", "state", "plugin/action", "mode", "done", "started", box=None)
    for each in found:
        table.add_row(
            each.run_id,
            each.state.value,
            f"{each.plugin}/{each.action}",
            each.mode,
            f"{each.progress.fraction:.0%}",
            each.created.astimezone().strftime("%d %b %H:%M:%S"),
        )
    console.print(table, soft_wrap=False)


@runs_app.command("show")
def show_run(run_id: str) -> None:
    """Show a run as JSON."""
    with opened() as home:
        record = run_record(home.runs.get(run_id), home.runs)
    console.print_json(msgspec.json.encode(record).decode())


@runs_app.command("logs")
def run_logs(
    run_id: str,
    tail: Annotated[int, typer.Option(min=1, max=100_000)] = 100,
    grep: Annotated[str | None, typer.Option(help="A regular expression.")] = None,
) -> None:
    """Print the end of a run's log."""
    with opened() as home:
        page = home.runs.log(run_id, tail=tail, grep=grep, most_chars=10_000_000)
    sys.stdout.write("".join(f"{line}\n" for line in page.lines))


@runs_app.command("stop")
def stop_run(run_id: str, force: bool = False) -> None:
    """Stop a run; its rollbacks run first unless forced."""
    with opened() as home:
        ended = home.runs.stop(run_id, force)
    console.print(f"{ended.run_id} {ended.state.value}", highlight=False)


@ray_app.command("status")
def ray_status(ray_address: RayAddress = None, profile: Profile = None) -> None:
    """Tell whether the cluster runs, and what it has."""
    with opened(ray_address=ray_address, profile=profile) as home:
        status = home.cluster.status()
    console.print(f"{status.state}: {unmarked(status.message)}", highlight=False)
    raise typer.Exit(1 if status.state == "unreachable" else 0)


@ray_app.command("stop")
def ray_stop() -> None:
    """Stop this home's local cluster, and every run on it."""
    with opened() as home:
        console.print("stopped" if home.cluster.stop() else "no local cluster was running")


def parse_params(pairs: list[str]) -> dict[str, Any]:
    """Return {'epochs': 5} for ['epochs=5']: values are JSON where they can be, else texts.

    Raises InvalidRequest for an entry without '='.
    """
    params: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise InvalidRequest(f"{pair!r} is not KEY=VALUE.", hint="Write -p epochs=5 -p 'name=\"x\"'.")
        try:
            params[key] = json.loads(value)
        except ValueError:
            params[key] = value
    return params


@contextmanager
def _leaving_it_running(run_id: str) -> Iterator[None]:
    """Let Ctrl-C end the watching and not the run."""
    try:
        yield
    except KeyboardInterrupt:
        console.print(f"It goes on. synapse-mcp runs show {run_id}; runs stop {run_id}")
        raise typer.Exit(130) from None


def _progress_of(home: Home, run_id: str) -> Iterator[PipelineProgress]:
    """Have a pipeline begun, and yield how far it is until it has ended."""
    threading.Thread(target=home.runs.start, args=(run_id,), daemon=True).start()
    while True:
        run = home.runs.get(run_id)
        yield PipelineProgress.of(run)
        if run.is_done:
            return
        time.sleep(0.1)


def _watch(home: Home, run_id: str, console: Any) -> Run:
    """Have the run begun, draw its progress, and return it ended."""
    starting = threading.Thread(target=home.runs.start, args=(run_id,), daemon=True)
    starting.start()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("queued", total=1.0)
        while True:
            run = home.runs.get(run_id)
            progress = run.progress
            asked = f"synapse-mcp answer {run_id}" if run.questions else None
            words = asked or run.waiting or progress.step or run.state.value
            bar.update(task, completed=progress.fraction, description=unmarked(words[:60]))
            if run.is_done:
                return run
            time.sleep(0.1)


def _tell_end(run: Run, console: Any) -> int:
    """Print how a run ended. Returns the exit code."""
    if run.failure is not None:
        code, message = unmarked(run.failure.code), unmarked(run.failure.message)
        console.print(f"[red]{run.state.value}[/red] ({code}): {message}", highlight=False)
        if run.failure.hint:
            console.print(f"[dim]{unmarked(run.failure.hint)}[/dim]", highlight=False)
        return 1
    console.print(f"[green]{run.state.value}[/green] in {run.elapsed_seconds:.1f} s", highlight=False)
    console.print_json(json.dumps(run.result, default=str))
    return 0
