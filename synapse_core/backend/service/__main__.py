"""`python -m synapse_core.backend.service`: serve the backend of a home over HTTP, until SIGTERM or ^C."""

from __future__ import annotations

import argparse
import ipaddress
import os
import secrets
import signal
import stat
import sys
from pathlib import Path

from synapse_core.backend.local import LocalBackend
from synapse_core.backend.service.app import create_app
from synapse_core.backend.service.serving import Service
from synapse_core.errors import InvalidRequest, SynapseError

_LEAST_TOKEN = 16


def main() -> int:
    """Print where the service listens, then serve. Returns the exit code."""
    given = _arguments()
    try:
        home = _home(given.home)
        folder = home / "service"
        token = _token(given.token_file, given.host, folder)
    except (SynapseError, OSError) as error:
        hint = getattr(error, "hint", None)
        sys.stderr.write(f"{error}{f' {hint}' if hint else ''}\n")
        return 2
    # Uvicorn ends by these and raises them once more when it is done: that is no failure.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: None)
    backend = LocalBackend(home, database_url=given.database_url)
    try:
        app = create_app(backend, token, folder)
        Service(app, given.host, given.port).run(_tell)
    finally:
        backend.close()
    return 0


def _tell(url: str) -> None:
    sys.stdout.write(f"listening on {url}\n")
    sys.stdout.flush()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m synapse_core.backend.service", description=__doc__)
    parser.add_argument(
        "--host", default="127.0.0.1", help="the address to listen on; another machine needs one"
    )
    parser.add_argument("--port", type=int, default=0, help="0 has the system choose one")
    parser.add_argument("--home", type=Path, help="whose backend it is; SYNAPSE_HOME without it")
    parser.add_argument("--database-url", help="any SQLAlchemy URL; the database of the home without it")
    parser.add_argument("--token-file", type=Path, help="holds the token, readable by its owner alone")
    return parser.parse_args()


def _home(given: Path | None) -> Path:
    named = os.environ.get("SYNAPSE_HOME")
    if given is None and not named:
        raise InvalidRequest(
            "It is not said which home is to be served.", hint="Give --home, or set SYNAPSE_HOME."
        )
    return (given if given is not None else Path(named or "")).expanduser().absolute()


def _token(path: Path | None, host: str, folder: Path) -> str:
    """Return the token: of the file, of SYNAPSE_SERVICE_TOKEN, or of a file that is made if need be."""
    if path is not None:
        return _read(path)
    if not _is_loopback(host):
        raise InvalidRequest(
            f"Listening on {host}, other machines can reach the service.",
            hint="Say which token they need with --token-file.",
        )
    named = os.environ.pop("SYNAPSE_SERVICE_TOKEN", "").strip()
    if named:
        return _checked(named, "SYNAPSE_SERVICE_TOKEN")
    path = folder / "token"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secrets.token_urlsafe(32)}\n")
    except FileExistsError:
        pass  # made by an earlier start: callers know it already
    sys.stderr.write(f"the token is in {path}\n")
    return _read(path)


def _read(path: Path) -> str:
    found = path.stat()
    if stat.S_IMODE(found.st_mode) & 0o077 or found.st_uid != os.geteuid():
        raise InvalidRequest(
            f"Others than you can read the token in {path}, or it is not yours.",
            hint=f"Call: chmod 600 {path}",
        )
    return _checked(path.read_text().strip(), str(path))


def _checked(token: str, where: str) -> str:
    if len(token) < _LEAST_TOKEN or not (token.isascii() and token.isprintable()) or " " in token:
        raise InvalidRequest(
            f"What is in {where} cannot be a token: it needs at least {_LEAST_TOKEN} ASCII characters, "
            "without blanks."
        )
    return token


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
