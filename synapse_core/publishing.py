"""Publishing a plugin: what of its folder is packed, and what must never be.

Packed is what neither the defaults nor `.gitignore` and `.synapseignore` leave out. Files that hold keys are
refused by name and by content as soon as they would be packed.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from synapse_core.archives import Archive, pack_folder
from synapse_core.backend import Backend, PluginRelease
from synapse_core.config import PluginConfig, load_config
from synapse_core.errors import ArchiveError, InvalidRequest, SecretInPlugin
from synapse_core.yaml_lines import read_yaml

MOST_BYTES = 100 << 20
MOST_FILES = 10_000
IGNORE_FILES = (".gitignore", ".synapseignore")
_LEFT_OUT = (
    *(".git/", ".hg/", ".svn/", ".venv/", "venv/", "node_modules/", "__pycache__/", "*.py[cod]"),
    *("*.egg-info/", "build/", "dist/"),
    *(".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".idea/", ".vscode/", ".DS_Store", "Thumbs.db"),
)
# Names that nobody gives to a file without a secret in it.
_SECRET_NAMES = (
    *(".env", ".env.*", "!.env.example", "!.env.template", "*.pem", "*.p12", "*.pfx", "*.key", "*.keystore"),
    *("id_rsa", "id_dsa", "id_ecdsa", "id_ed25519", ".netrc", ".pypirc", ".npmrc", ".htpasswd"),
    *("credentials.json", "service_account*.json", ".aws/", ".ssh/", "*.token"),
)
_SECRET_SHAPES = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY-----|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{50}"
    rb"|xox[abprs]-[A-Za-z0-9-]{20,}|\"private_key\"\s*:\s*\"-----BEGIN"
)
# Secrets stand in texts, and texts are small.
_MOST_SCREENED_BYTES = 2 << 20


def pack_plugin(root: Path, target: Path) -> Archive:
    """Write a plugin's folder into the zip `target`; the same content gives the same bytes.

    Raises SecretInPlugin that names every file with a key in it; ArchiveError for a folder that is too large
    or has links out of it; InvalidConfig for a config.yaml that cannot be used.
    """
    import pathspec  # only who publishes needs it

    load_config(root)
    ignored = pathspec.PathSpec.from_lines("gitignore", [*_LEFT_OUT, *_ignore_lines(root)])
    secret = pathspec.PathSpec.from_lines("gitignore", _SECRET_NAMES)
    found: list[str] = []

    def leaves_out(name: str) -> bool:
        if ignored.match_file(name):
            return True
        if not name.endswith("/") and (secret.match_file(name) or _holds_secret(root / name)):
            found.append(name)
        return False

    try:
        archive = pack_folder(root, target, exclude=leaves_out, most_bytes=MOST_BYTES, most_files=MOST_FILES)
    except ArchiveError as error:
        raise ArchiveError(
            error.message,
            error.details,
            hint=f"Name what does not belong to the plugin in {root}/.synapseignore (as in .gitignore). At "
            f"most {MOST_BYTES >> 20} MB are published; weights and data belong into models and datasets.",
        ) from error
    if found:
        target.unlink()
        raise SecretInPlugin(root, sorted(found))
    return archive


def publish_plugin(backend: Backend, root: Path, *, version: str | None = None) -> PluginRelease:
    """Pack a plugin and publish it as `code@version`. The same content again is the release that is there.

    version: what config.yaml has to say, for who wants to be sure.
    Raises InvalidRequest where it says another one, BackendConflict where that version was published with
    another content, and what `pack_plugin` raises.
    """
    config = load_config(root).config
    if version is not None and version != config.version:
        raise InvalidRequest(
            f"Version {version} was asked for, and {root}/config.yaml says {config.version}.",
            {"asked": version, "version": config.version},
            hint=f"Write `version: {version}` into config.yaml, or leave version out.",
        )
    with tempfile.TemporaryDirectory(prefix="synapse-publish-") as folder:
        archive = pack_plugin(root, Path(folder, f"{config.code}-{config.version}.zip"))
        return backend.create_plugin_release(
            config.code,
            config.version,
            archive.path,
            config=_plain(root),
            requirements=list(_requirements(root, config)),
        )


def _ignore_lines(root: Path) -> Iterator[str]:
    for name in IGNORE_FILES:
        file = root / name
        if file.is_file():
            yield from file.read_text(errors="replace").splitlines()


def _holds_secret(file: Path) -> bool:
    if not file.is_file() or file.stat().st_size > _MOST_SCREENED_BYTES:
        return False
    return _SECRET_SHAPES.search(file.read_bytes()) is not None


def _plain(root: Path) -> dict[str, Any]:
    """Return config.yaml as it is written, but for the values of `env`, which may be keys."""
    data = read_yaml((root / "config.yaml").read_bytes()).data
    config: dict[str, Any] = msgspec.to_builtins(data)
    if isinstance(config.get("env"), dict):
        config["env"] = dict.fromkeys(config["env"])
    return config


def _requirements(root: Path, config: PluginConfig) -> Iterator[str]:
    file = root / "requirements.txt"
    if file.is_file():
        for line in file.read_text(errors="replace").splitlines():
            if (stripped := line.partition("#")[0].strip()) and not stripped.startswith("-"):
                yield stripped
