"""`synapse-mcp install`: telling an MCP client about this server, and taking that back."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Annotated

import typer

from synapse_core.errors import InvalidRequest, SynapseError
from synapse_mcp.cli_text import console, unmarked
from synapse_mcp.client_config import (
    CLIENTS,
    PROJECT,
    USER,
    Change,
    client_kind,
    entry_of,
    installed,
    snippet,
    uninstalled,
)
from synapse_mcp.masking import masked
from synapse_mcp.settings import parse_arguments

app = typer.Typer()

# Where the server finds its home and its profiles is not to depend on how a client was started. Nothing else
# of the environment is written down: it may be secret.
_PLACES = ("SYNAPSE_HOME", "SYNAPSE_CONFIG")
# A client starts the server wherever it happens to be itself.
_PATH_SWITCHES = ("--plugins", "--allow-path", "--token-file")
_NOT_FOR_CLIENTS = ("--http", "--token-file", "--version", "--help", "-h")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def install(
    context: typer.Context,
    client: Annotated[str, typer.Option("--client", metavar="NAME", help=f"One of {', '.join(CLIENTS)}.")],
    scope: Annotated[
        str, typer.Option("--scope", metavar="SCOPE", help="user, or project: the present folder.")
    ] = USER,
    name: Annotated[str, typer.Option("--name", help="Under which name the client knows it.")] = "synapse",
    prints: Annotated[bool, typer.Option("--print", help="Write nothing; print what would stand there.")] = (
        False
    ),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; show the change.")] = False,
    uninstall: Annotated[bool, typer.Option("--uninstall", help="Take the server out again.")] = False,
) -> None:
    """Put this server into an MCP client's settings. Other switches are passed on to the server."""
    try:
        kind = client_kind(client)
        if scope not in (USER, PROJECT):
            raise InvalidRequest(f"There is no scope {scope!r}; the scopes are {USER} and {PROJECT}.")
        file = kind.file(scope, Path.cwd())
        if uninstall:
            _tell(uninstalled(kind, file, name), scope, dry_run)
            return
        environment = {name: os.environ[name] for name in _PLACES if os.environ.get(name)}
        entry = entry_of(kind, server_switches(context.args), environment)
        if prints:
            console.print(f"# {unmarked(file)}")
            typer.echo(snippet(kind, name, entry), nl=False)
            return
        _tell(installed(kind, file, name, entry), scope, dry_run)
    except SynapseError as error:
        console.print(f"[red]{error.code}[/red]: {unmarked(error.message)}")
        if error.hint:
            console.print(f"[dim]{unmarked(error.hint)}[/dim]")
        raise typer.Exit(1) from None


def server_switches(given: list[str]) -> list[str]:
    """Return the switches that the server will be started with, checked, their folders by the whole path.

    Raises InvalidRequest for what the server does not take, what a client cannot use, and for secrets.
    """
    switches = [word for word in given if word != "--"]
    for word in switches:
        if word.partition("=")[0] in _NOT_FOR_CLIENTS:
            raise InvalidRequest(
                f"{word} is not for a server that a client starts.",
                hint="A server with --http is started by you; give its URL to the client.",
            )
        if masked(word) != word:
            raise InvalidRequest(
                "One of the switches holds a secret, which would be readable in the client's settings.",
                hint="Put it into a file of its own and name that in a profile; see the README.",
            )
    whole: list[str] = []
    for word in switches:
        switch, equals, value = word.partition("=")
        if switch in _PATH_SWITCHES and equals:
            word = f"{switch}={_whole(value)}"
        elif whole and whole[-1] in _PATH_SWITCHES:
            word = _whole(word)
        whole.append(word)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            parse_arguments(whole)
    except SystemExit:
        lines = complaint.getvalue().strip().splitlines() or ["they are wrong"]
        raise InvalidRequest(
            f"The server does not take these switches: {lines[-1].partition('error: ')[2] or lines[-1]}",
            hint="synapse-mcp serve --help lists them.",
        ) from None
    return whole


def _whole(folder: str) -> str:
    return str(Path(folder).expanduser().absolute())


def _tell(change: Change, scope: str, dry_run: bool) -> None:
    """Make a change, or show it, and say what was done."""
    place = unmarked(change.file)
    if change.new is None:
        console.print(f"{unmarked(change.client.title)}: {change.said} ({place})")
        return
    if dry_run:
        # The lines around ours are somebody else's settings.
        typer.echo(masked(change.diff()))
        console.print("Nothing was written.")
        return
    kept = change.make(is_shared=scope == PROJECT)
    console.print(f"{unmarked(change.client.title)}: {change.said} in {place}")
    if kept is not None:
        console.print(f"What stood there before: {unmarked(kept)}")
    if scope == PROJECT and change.said != "taken out":
        console.print("It names the Python of this machine; others install it for themselves.")
    console.print(unmarked(change.client.restart))
