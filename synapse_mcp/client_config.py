"""Where each MCP client keeps its servers, in which shape, and putting ours there with no harm to others."""

from __future__ import annotations

import difflib
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synapse_core.errors import InvalidConfig, InvalidRequest, did_you_mean
from synapse_mcp.commented_json import NotJson, read_document, with_member, without_member
from synapse_mcp.file_replacement import replace_file

USER, PROJECT = "user", "project"


@dataclass(frozen=True)
class ClientKind:
    """One program that uses MCP servers.

    project_file: relative to a project's folder, None where the client knows no projects. section: what the
    servers stand under. typed: an entry says that it is started over stdio. reads_comments: its JSON may
    have comments; None for TOML. restart: what to do afterwards.
    """

    name: str
    title: str
    section: str
    project_file: str | None
    reads_comments: bool | None
    restart: str
    typed: bool = False

    def file(self, scope: str, project: Path) -> Path:
        """Return the file of a scope. Raises InvalidRequest where the client has no such scope."""
        if scope == USER:
            return _USER_FILES[self.name]()
        if self.project_file is None:
            raise InvalidRequest(
                f"{self.title} has no settings of a project.", hint="Leave --scope out: it means user."
            )
        return project / self.project_file


def _home() -> Path:
    return Path("~").expanduser()


def _moved(variable: str, usual: str, name: str) -> Path:
    """Return a file in the folder of a variable, or in its usual place below the home."""
    folder = os.environ.get(variable)
    return Path(folder).expanduser() / name if folder else _home() / usual / name


def _app_folder(name: str) -> Path:
    """Return a desktop program's folder for settings, as the platform has it."""
    if sys.platform == "darwin":
        return _home() / "Library" / "Application Support" / name
    if sys.platform == "win32":
        return Path(os.environ.get("APPDATA") or _home() / "AppData" / "Roaming") / name
    return Path(os.environ.get("XDG_CONFIG_HOME") or _home() / ".config") / name


_USER_FILES = {
    "claude-code": lambda: _moved("CLAUDE_CONFIG_DIR", ".", ".claude.json"),
    "claude-desktop": lambda: _app_folder("Claude") / "claude_desktop_config.json",
    "cursor": lambda: _home() / ".cursor" / "mcp.json",
    "vscode": lambda: _app_folder("Code") / "User" / "mcp.json",
    "codex": lambda: _moved("CODEX_HOME", ".codex", "config.toml"),
    "gemini": lambda: _home() / ".gemini" / "settings.json",
}

CLIENTS = {
    kind.name: kind
    for kind in (
        ClientKind(
            "claude-code",
            "Claude Code",
            "mcpServers",
            ".mcp.json",
            False,
            "Start a new session; /mcp shows it.",
            typed=True,
        ),
        ClientKind(
            "claude-desktop",
            "Claude Desktop",
            "mcpServers",
            None,
            False,
            "Quit Claude Desktop and open it again; closing its window is not enough.",
        ),
        ClientKind(
            "cursor",
            "Cursor",
            "mcpServers",
            ".cursor/mcp.json",
            True,
            "Restart Cursor; its settings list it under MCP.",
            typed=True,
        ),
        ClientKind(
            "vscode",
            "VS Code",
            "servers",
            ".vscode/mcp.json",
            True,
            "Run `MCP: List Servers` and start it there.",
            typed=True,
        ),
        ClientKind(
            "codex",
            "Codex",
            "mcp_servers",
            ".codex/config.toml",
            None,
            "Start a new session; /mcp shows it. A project's file counts where the project is trusted.",
        ),
        ClientKind(
            "gemini",
            "Gemini CLI",
            "mcpServers",
            ".gemini/settings.json",
            True,
            "Start a new session; /mcp shows it.",
        ),
    )
}


@dataclass(frozen=True)
class Change:
    """What is to become of a client's file. new is None where it stays as it is."""

    client: ClientKind
    file: Path
    old: bytes | None
    new: bytes | None
    said: str

    def diff(self) -> str:
        """Return the change as lines with + and -."""
        if self.new is None:
            return ""
        before = (self.old or b"").decode("utf-8", "replace").splitlines()
        after = self.new.decode("utf-8", "replace").splitlines()
        name = str(self.file)
        return "\n".join(difflib.unified_diff(before, after, name, name, lineterm=""))

    def make(self, is_shared: bool = False) -> Path | None:
        """Write the file. Returns the copy of what stood there before, None where there was nothing.

        is_shared: a new file may be read by others. Raises Conflict where somebody else has just changed it.
        """
        if self.new is None:
            return None
        return replace_file(self.file, self.old, self.new, 0o644 if is_shared else 0o600)


def client_kind(name: str) -> ClientKind:
    """Return the client of a name. Raises InvalidRequest that names the known ones."""
    if name not in CLIENTS:
        raise InvalidRequest(
            f"There is no client {name!r} here.{did_you_mean(name, CLIENTS)}",
            hint=f"Name one of {', '.join(CLIENTS)}; for others --print shows what most of them take.",
        )
    return CLIENTS[name]


def entry_of(client: ClientKind, arguments: list[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return how a client is told to start the server: the present interpreter, by its whole path."""
    entry: dict[str, Any] = {"type": "stdio"} if client.typed else {}
    entry |= {"command": sys.executable, "args": ["-m", "synapse_mcp", *arguments]}
    return {**entry, "env": dict(environment)} if environment else entry


def snippet(client: ClientKind, name: str, entry: Mapping[str, Any]) -> str:
    """Return what would stand in an otherwise empty file."""
    return _edited(client, "", name, entry)


def installed(client: ClientKind, file: Path, name: str, entry: Mapping[str, Any]) -> Change:
    """Return the change that puts the server into a client's file; none where it is there just so.

    Keys of an entry of ours that we do not know stay.
    Raises InvalidConfig where the file cannot be read or belongs to something else; nothing is written.
    """
    old, text = _read(file)
    present = _entry(client, file, text, name)
    if present is not None and not _is_ours(present):
        raise InvalidConfig(
            f"{file} has another server by the name {name!r}; it is not touched.",
            hint="Choose another name with --name.",
        )
    wanted = {**(present or {}), **entry}
    if present and isinstance(present.get("env"), dict):
        wanted["env"] = {**present["env"], **entry.get("env", {})}
    if present == wanted:
        return Change(client, file, old, None, "already installed")
    try:
        new = _edited(client, text, name, wanted)
    except NotJson as error:
        raise InvalidConfig(f"{file}, {error}.", hint="Correct the file; it was not touched.") from error
    return Change(client, file, old, new.encode(), "installed" if present is None else "brought up to date")


def uninstalled(client: ClientKind, file: Path, name: str) -> Change:
    """Return the change that takes the server out of a client's file again; none where it is not there."""
    old, text = _read(file)
    present = _entry(client, file, text, name)
    if present is None:
        return Change(client, file, old, None, "not installed")
    if not _is_ours(present):
        raise InvalidConfig(
            f"The server {name!r} in {file} is not this one; it is not touched.", hint="See --name."
        )
    if client.reads_comments is None:
        new = _toml_without(text, client.section, name)
    else:
        new = without_member(read_document(text), (client.section, name))
    return Change(client, file, old, new.encode(), "taken out")


def entries_of_ours(client: ClientKind, file: Path) -> dict[str, Mapping[str, Any]]:
    """Return the entries in a file that start this server, by name.

    Raises InvalidConfig where the file cannot be read.
    """
    _, text = _read(file)
    servers = _servers(client, file, text)
    return {name: entry for name, entry in servers.items() if _is_ours(entry)}


def _is_ours(entry: Any) -> bool:
    if not isinstance(entry, Mapping):
        return False
    words = [str(entry.get("command", "")), *map(str, entry.get("args") or ())]
    return any(word == "synapse_mcp" or Path(word).stem == "synapse-mcp" for word in words)


def _read(file: Path) -> tuple[bytes | None, str]:
    """Return a file's bytes and its text, None and '' where there is none."""
    try:
        content = file.read_bytes()
        return content, content.decode()
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        raise InvalidConfig(f"{file} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise InvalidConfig(f"{file} is not UTF-8; it is not touched.") from error


def _entry(client: ClientKind, file: Path, text: str, name: str) -> Any:
    return _servers(client, file, text).get(name)


def _servers(client: ClientKind, file: Path, text: str) -> Mapping[str, Any]:
    """Return what stands in the client's section. Raises InvalidConfig where the file is not as it should."""
    hint = "Correct the file; it was not touched."
    try:
        if client.reads_comments is None:
            settings: Any = tomllib.loads(text)
        else:
            document = read_document(text)
            settings = document.value
            if not document.is_strict and not client.reads_comments:
                raise InvalidConfig(
                    f"{file} has comments or a comma too many, which {client.title} does not read.", hint=hint
                )
    except (NotJson, tomllib.TOMLDecodeError) as error:
        raise InvalidConfig(f"{file} cannot be understood: {error}.", hint=hint) from error
    servers = settings.get(client.section, {}) if isinstance(settings, dict) else None
    if not isinstance(servers, dict):
        raise InvalidConfig(f"{file}: {client.section} should hold servers by their names.", hint=hint)
    return servers


def _edited(client: ClientKind, text: str, name: str, entry: Mapping[str, Any]) -> str:
    if client.reads_comments is None:
        return _toml_with(text, client.section, name, entry)
    return with_member(read_document(text), (client.section, name), dict(entry))


def _toml_with(text: str, section: str, name: str, entry: Mapping[str, Any]) -> str:
    import tomlkit  # only for this client

    document = tomlkit.parse(text)
    servers = document.get(section)
    if servers is None:
        servers = tomlkit.table(is_super_table=True)
        document.append(section, servers)
    if name in servers:
        for key, value in entry.items():
            servers[name][key] = value
    else:
        table = tomlkit.table()
        for key, value in entry.items():
            table.add(key, value)
        servers.append(name, table)
    return tomlkit.dumps(document)


def _toml_without(text: str, section: str, name: str) -> str:
    import tomlkit  # only for this client

    document = tomlkit.parse(text)
    servers: Any = document[section]
    del servers[name]
    if not servers:
        del document[section]
    return tomlkit.dumps(document)
