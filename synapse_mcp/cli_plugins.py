"""`synapse-mcp create`, `add-action`, `validate` and `publish`: plugins written, checked and published."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from synapse_core import scaffold
from synapse_core.config import load_config
from synapse_core.enums import PluginCategory
from synapse_core.errors import SynapseError
from synapse_core.plain_text import plain
from synapse_core.registry import Registry
from synapse_core.scaffold import CreatedPlugin
from synapse_mcp.cli_text import console
from synapse_mcp.settings import Settings
from synapse_mcp.tools.authoring import place_for_plugins
from synapse_mcp.tools.publishing import release_of

app = typer.Typer()


@app.command()
def create(
    code: str,
    category: Annotated[
        str, typer.Option(metavar="CATEGORY", help=f"One of {', '.join(PluginCategory)}.")
    ] = "custom",
    path: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="In which folder; by default the home's plugins."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="What people read.")] = None,
    action: Annotated[
        list[str] | None,
        typer.Option(
            "--action", metavar="NAME[=TEMPLATE]", help="May be repeated; by default all of the category."
        ),
    ] = None,
) -> None:
    """Write a plugin that runs as it is. Nothing is overwritten."""
    with _told():
        settings = Settings.make()
        place = place_for_plugins(settings, path)
        with _registry(*settings.plugin_paths) as registry:
            taken = {plugin.code: plugin.root for plugin in registry.plugins()}
        created = scaffold.create_plugin(code, category, place, name=name, actions=action, taken=taken)
        _tell(created, "" if place in settings.plugin_paths else f" --plugins {place}")


@app.command("add-action")
def add_action(
    plugin: Annotated[str, typer.Argument(metavar="PLUGIN", help="Its code, or its folder.")],
    action: Annotated[str, typer.Argument(metavar="NAME[=TEMPLATE]")],
) -> None:
    """Write one more action into a plugin; the rest of its config.yaml stays as it is."""
    with _told():
        settings = Settings.make()
        is_folder = Path(plugin).expanduser().is_dir()
        paths = [Path(plugin).expanduser()] if is_folder else list(settings.plugin_paths)
        with _registry(*paths) as registry:
            root = paths[0] if is_folder else registry.get(plugin).root
            added = scaffold.add_action(root, action, check=registry.spec)
        _tell(added, f" --plugins {root}" if is_folder else "")


@app.command()
def validate(path: Annotated[Path, typer.Argument(metavar="PATH", help="A plugin's folder.")]) -> None:
    """Check a plugin: its config.yaml, and that every action loads. Exit code 1 where something is wrong."""
    with _told(), _registry(path) as registry:
        code = load_config(path).config.code
        plugin = registry.get(code)
        description = registry.describe(code)
    issues = [*plugin.issues, *description.issues]
    for issue in issues:
        place = f"{issue.file}:{issue.line}: " if issue.file else ""
        console.print(f"{issue.severity}: {plain(place + issue.message)}", markup=False)
    console.print(f"{code}: {len(description.actions)} actions load, {len(issues)} problems")
    raise typer.Exit(1 if any(issue.severity == "error" for issue in issues) else 0)


@app.command()
def publish(
    plugin: Annotated[str, typer.Argument(metavar="PLUGIN", help="Its code, or its folder.")],
    version: Annotated[
        str | None, typer.Option(metavar="X.Y.Z", help="Only if config.yaml says this one.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", metavar="NAME", help="Whose backend; see the README.")
    ] = None,
) -> None:
    """Publish a plugin into the backend as code@version, without ignored files; keys are refused."""
    with _told():
        folder = Path(plugin).expanduser()
        settings = Settings.make([plugin] if folder.is_dir() else (), profile=profile)
        home = settings.open_home(adopts=False)
        try:
            code = load_config(folder).config.code if folder.is_dir() else plugin
            release = release_of(home, code, version)
        finally:
            home.close()
    console.print(f"{release.release}: {release.size_bytes} bytes, {release.checksum}", markup=False)
    console.print(f"synapse-mcp run {release.release} {' '.join(release.actions[:1])}", markup=False)


@contextmanager
def _told() -> Iterator[None]:
    """Make two lines and exit code 1 of a foreseen failure."""
    try:
        yield
    except SynapseError as error:
        console.print(f"{error.code}: {plain(error.message)}", style="red", markup=False)
        if error.hint:
            console.print(plain(error.hint), markup=False)
        raise typer.Exit(1) from None


@contextmanager
def _registry(*paths: Path) -> Iterator[Registry]:
    """Open a registry that leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="synapse-descriptions-") as cache:
        registry = Registry([path.resolve() for path in paths], Path(cache))
        try:
            yield registry
        finally:
            registry.close()


def _tell(created: CreatedPlugin, option: str) -> None:
    for name in created.files:
        console.print(plain(str(created.path / name)), markup=False)
    console.print(f"synapse-mcp run {created.code} {created.actions[0]}{option}", markup=False)
