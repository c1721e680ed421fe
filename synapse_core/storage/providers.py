"""The table of providers. A new one is one module with a PROVIDER and one line here; a program adds its own
with `register_provider`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from synapse_core.errors import Conflict, ProviderNotFound, StorageConfigError
from synapse_core.storage.configuration import read_configuration
from synapse_core.storage.files import Capabilities, Provider
from synapse_core.storage.storage import Storage
from synapse_core.storage.storage_path import StoragePath

# name -> its module, imported when a storage of it is first asked for, and the extra that has its package.
_MODULES: dict[str, tuple[str, str | None]] = {
    "local": ("local", None),
    "s3": ("s3", "s3"),
    "gcs": ("gcs", "gcs"),
    "sftp": ("sftp", "sftp"),
    "http": ("http", None),
    "memory": ("memory", None),
}
# Other names that are in use for the same thing.
_ALIASES = {
    "file_system": "local",
    "amazon_s3": "s3",
    "minio": "s3",
    "gs": "gcs",
    "gcp": "gcs",
    "https": "http",
}
# name -> what makes a storage of a configuration; written by register_provider only.
_REGISTERED: dict[str, tuple[Callable[[dict[str, Any]], Storage], Capabilities]] = {}


def get_storage(config: Any) -> Storage:
    """Return the storage that a configuration describes. Nothing is connected before it is used.

    config: {'provider', 'configuration'}, or a record with these attributes.
    Raises ProviderNotFound, and StorageConfigError, which names the setting and what is allowed, or what to
    install. A key that the provider does not know gives a UserWarning and is ignored.
    """
    name, configuration = _parts(config)
    if name in _REGISTERED:
        return _REGISTERED[name][0](dict(configuration or {}))
    provider = _load(name)
    checked = read_configuration(provider.name, provider.settings, configuration)
    if provider.check is not None:
        provider.check(checked)
    return Storage(provider, checked)


def register_provider(
    name: str, factory: Callable[[dict[str, Any]], Storage], capabilities: Capabilities | None = None
) -> None:
    """Make `get_storage` know another provider, in this process.

    factory: gets the configuration as it is given; returns a Storage, or an object with its methods.
    Raises Conflict where the name stands for another one already.
    """
    plain = name.lower()
    taken = _REGISTERED.get(plain)
    if plain in _MODULES or plain in _ALIASES or (taken is not None and taken[0] is not factory):
        raise Conflict(
            f"There is a storage provider {plain!r} already.", hint="Register it under another name."
        )
    _REGISTERED[plain] = (factory, capabilities or Capabilities())


def get_registered_providers() -> list[str]:
    """Return the names that `get_storage` takes, with the other names of the same things."""
    return [*_MODULES, *_ALIASES, *_REGISTERED]


def get_capabilities(provider: str) -> Capabilities:
    """Return what a provider can do. Raises ProviderNotFound."""
    name = provider.lower()
    return _REGISTERED[name][1] if name in _REGISTERED else _load(name).capabilities


def get_pathlib(config: Any, path_root: str = "") -> Path | StoragePath:
    """Return a path in a storage; see `Storage.get_pathlib`."""
    return get_storage(config).get_pathlib(path_root)


def get_path_file_count(config: Any, path_root: str = "") -> int:
    """Return how many files lie below a name of a storage."""
    return get_storage(config).get_path_file_count(path_root)


def get_path_total_size(config: Any, path_root: str = "") -> int:
    """Return how many bytes the files below a name of a storage have together."""
    return get_storage(config).get_path_total_size(path_root)


def _parts(config: Any) -> tuple[str, Any]:
    """Return the provider's name in lower case, and what it is told."""
    if isinstance(config, Mapping):
        name, configuration = config.get("provider"), config.get("configuration")
    else:
        name, configuration = getattr(config, "provider", None), getattr(config, "configuration", None)
    if not isinstance(name, str) or not name:
        raise StorageConfigError(
            "The 'provider' of a storage is missing or empty. Allowed are "
            f"{', '.join(get_registered_providers())}.",
            {"key": "provider"},
            hint="Give {'provider': 'local', 'configuration': {'location': '/a/folder'}}, for example.",
        )
    return name.lower(), configuration


def _load(name: str) -> Provider:
    """Return a built-in provider. Raises ProviderNotFound, or StorageConfigError without its package."""
    plain = _ALIASES.get(name, name)
    if plain not in _MODULES:
        raise ProviderNotFound(name, get_registered_providers())
    module, extra = _MODULES[plain]
    try:
        provider: Provider = importlib.import_module(f"synapse_core.storage.{module}").PROVIDER
    except ModuleNotFoundError as error:
        if extra is None:
            raise
        raise StorageConfigError(
            f"A storage of provider {plain!r} needs the package {error.name!r}, which is not installed here.",
            {"provider": plain, "module": error.name},
            hint=f'pip install "synapse-mcp[{extra}]"',
        ) from error
    return provider
