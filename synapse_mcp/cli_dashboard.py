"""`synapse-mcp dashboard`: the runs, models, deployments and datasets of a home as a page."""

from __future__ import annotations

import ipaddress
import os
import stat
from pathlib import Path
from typing import Annotated

import typer

from synapse_core.errors import InvalidRequest, SynapseError
from synapse_core.plain_text import plain
from synapse_mcp.cli_text import console, errors
from synapse_mcp.settings import Settings

_LEAST_TOKEN = 16

app = typer.Typer()


@app.command()
def dashboard(
    host: Annotated[str, typer.Option(metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 has the system choose one.")] = 0,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Holds the token that is asked for.")
    ] = None,
    plugins: Annotated[list[str] | None, typer.Option("--plugins", metavar="DIR")] = None,
    allow_path: Annotated[
        list[str] | None,
        typer.Option("--allow-path", metavar="DIR", help="Show datasets in this folder only; repeatable."),
    ] = None,
    ray_address: Annotated[str | None, typer.Option("--ray-address", metavar="HOST:PORT")] = None,
    profile: Annotated[str | None, typer.Option("--profile", metavar="NAME")] = None,
) -> None:
    """Serve a page that shows runs as they go, models, deployments and datasets. Ctrl-C ends it."""
    try:
        settings = Settings.make(plugins or (), ray_address, profile, allow_path or ())
        serve_dashboard(settings, host, port, asked_token(host, token_file))
    except SynapseError as error:
        errors.print(f"{error.code}: {plain(error.message)}", style="red", highlight=False, markup=False)
        if error.hint:
            errors.print(plain(error.hint), highlight=False, markup=False)
        raise typer.Exit(1) from None


def serve_dashboard(settings: Settings, host: str, port: int, token: str | None) -> None:
    """Print where the dashboard is, and serve it until a signal comes."""
    # The web server and what it needs: no other command waits for them.
    from synapse_mcp.dashboard import Service, create_app
    from synapse_mcp.dashboard.changes import Stopping
    from synapse_mcp.dashboard.gate import Access, own_names
    from synapse_mcp.dashboard.queries import Queries

    home = settings.open_home(adopts=False)
    stopping = Stopping()
    try:
        access = Access(token, () if is_loopback(host) else (host, *own_names()))
        service = Service(create_app(Queries(home, settings), access, stopping), host, port, stopping)
        asks = "" if token is None else " (it asks for the token)"
        service.run(lambda: console.print(f"dashboard: {service.url}{asks}", highlight=False))
    except KeyboardInterrupt:
        pass  # the usual way to end it
    finally:
        home.close()


def asked_token(host: str, path: Path | None) -> str | None:
    """Return the token to ask for: of the file, or of SYNAPSE_DASHBOARD_TOKEN; None where there is neither.

    Raises InvalidRequest where one is needed, or what is there can be none.
    """
    named = os.environ.pop("SYNAPSE_DASHBOARD_TOKEN", "").strip()
    if path is not None:
        return _read(path)
    if named:
        return _checked(named, "SYNAPSE_DASHBOARD_TOKEN")
    if not is_loopback(host):
        raise InvalidRequest(
            f"On {host} other machines can reach the dashboard, and no token is set.",
            hint="Give --token-file, or set SYNAPSE_DASHBOARD_TOKEN, or listen on 127.0.0.1.",
        )
    return None


def is_loopback(host: str) -> bool:
    """Return True where only this machine can reach what listens on a host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _read(path: Path) -> str:
    try:
        found = path.stat()
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The token file {path} cannot be read: {error}.") from error
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise InvalidRequest(f"Others than you can read the token in {path}.", hint=f"Call: chmod 600 {path}")
    return _checked(token, str(path))


def _checked(token: str, where: str) -> str:
    if len(token) < _LEAST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise InvalidRequest(
            f"What is in {where} cannot be a token: it needs at least {_LEAST_TOKEN} ASCII characters, "
            "without blanks.",
            hint="python -c 'import secrets; print(secrets.token_urlsafe())' makes one.",
        )
    return token
