"""The environment that an action sees: named values, read with a type."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_TRUE = ("true", "1", "yes")

# What a run inherits from whoever submits it. Anything else, keys and tokens above all, only if the
# plugin's config.yaml names it under `env`.
_PASSED_NAMES = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TERM"),
        *("TMPDIR", "TEMP", "TMP", "VIRTUAL_ENV", "CONDA_PREFIX", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
        *("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"),
    )
)
_PASSED_PREFIXES = (
    *("LC_", "PYTHON", "SYNAPSE_", "CUDA_", "NVIDIA_", "ROCR_", "HIP_"),
    *("OMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "TORCH_", "HF_HOME", "HF_HUB_OFFLINE", "COVERAGE_"),
)
_SECRET_NAME = re.compile(
    r"TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|CREDENTIAL|SIGNING_?KEY|_PAT$",
    re.IGNORECASE,
)
# A run may use the backend as its submitter does.
_PASSED_SECRETS = frozenset(("SYNAPSE_ACCESS_TOKEN",))


def is_secret_name(name: str) -> bool:
    """Return True where a name says that its value is a secret."""
    return _SECRET_NAME.search(name) is not None


def passed_environment(names: Iterable[str] = ()) -> dict[str, str]:
    """Return what a run inherits from this process: the allow-list and the variables of these `names`.

    What only begins like an entry of the list, as NVIDIA_API_KEY does, is left out where its name says that
    it is a secret.
    """
    wanted = _PASSED_NAMES | _PASSED_SECRETS | set(names)
    return {
        name: value
        for name, value in os.environ.items()
        if name in wanted or (name.startswith(_PASSED_PREFIXES) and not is_secret_name(name))
    }


class PluginEnvironment:
    """Named values for an action, from the process environment, a file or a mapping."""

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        self._data: dict[str, Any] = dict(data or {})

    @classmethod
    def from_environ(cls, prefix: str = "", *, prefixes: Sequence[str] | None = None) -> PluginEnvironment:
        """Read the process environment.

        prefix: only names that start with it, which is stripped from them.
        prefixes: only names that start with one of them, names kept whole.
        """
        if prefixes is not None:
            return cls(
                {name: value for name, value in os.environ.items() if name.startswith(tuple(prefixes))}
            )
        return cls(
            {name[len(prefix) :]: value for name, value in os.environ.items() if name.startswith(prefix)}
        )

    @classmethod
    def from_file(cls, path: str | Path) -> PluginEnvironment:
        """Read a TOML file. Raises FileNotFoundError where there is none."""
        with open(path, "rb") as file:
            return cls(tomllib.load(file))

    @classmethod
    def merge(cls, *environments: PluginEnvironment) -> PluginEnvironment:
        """Return the union of several; a later one wins."""
        merged: dict[str, Any] = {}
        for environment in environments:
            merged.update(environment.to_dict())
        return cls(merged)

    def get(self, key: str, default: Any = None) -> Any:
        return self._data.get(key, default)

    def get_str(self, key: str, default: str | None = None) -> str | None:
        value = self._data.get(key)
        return default if value is None else str(value)

    def get_int(self, key: str, default: int | None = None) -> int | None:
        """Raises ValueError where the value is not a whole number."""
        value = self._data.get(key)
        if value is None:
            return default
        try:
            if isinstance(value, float) and not value.is_integer():
                raise ValueError("it has decimals")
            return int(value)
        except (TypeError, ValueError):
            # Values may be secrets: the key only.
            raise ValueError(f"{key} is not a whole number.") from None

    def get_float(self, key: str, default: float | None = None) -> float | None:
        """Raises ValueError where the value is not a number."""
        value = self._data.get(key)
        try:
            return default if value is None else float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{key} is not a number.") from None

    def get_bool(self, key: str, default: bool | None = None) -> bool | None:
        """Return True for true, 1 and yes in any case of letters, False for any other value."""
        value = self._data.get(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        return str(value).strip().lower() in _TRUE

    def get_list(self, key: str, default: list[str] | None = None) -> list[str] | None:
        """Return a list as it is, or the parts of a comma-separated text."""
        value = self._data.get(key)
        if value is None:
            return default
        if isinstance(value, list):
            return value
        return [part.strip() for part in str(value).split(",") if part.strip()]

    def to_dict(self) -> dict[str, Any]:
        """Return a copy of all values."""
        return dict(self._data)

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __repr__(self) -> str:
        # Values may be secrets: names only.
        return f"PluginEnvironment({', '.join(sorted(self._data))})"


def default_home() -> Path:
    """Return the folder of this user's runs and settings: SYNAPSE_HOME, else the platform's place for it."""
    if named := os.environ.get("SYNAPSE_HOME"):
        return Path(named).expanduser().resolve()
    from platformdirs import user_data_path  # only where nothing is named

    return user_data_path("synapse")
