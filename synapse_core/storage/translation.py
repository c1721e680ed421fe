"""From what a provider's library raises to an error of ours, without the secrets of the storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from synapse_core.errors import (
    StorageConnectionError,
    StorageError,
    StorageNotFound,
    StoragePermissionError,
    UploadError,
)
from synapse_core.storage.files import Entry, Files
from synapse_core.storage.names import shown

_HINTS: dict[type[StorageError], str] = {
    StorageNotFound: "list() of the storage tells what there is.",
    StoragePermissionError: "Check the user, the keys and the rights in the storage's configuration.",
    StorageConnectionError: "Check the host in the storage's configuration, or try again later.",
    UploadError: "Nothing incomplete was kept where the provider can tell; upload it again.",
}
_MOST_REASON = 300


@dataclass(frozen=True)
class Translator:
    """Translates the errors of one storage.

    secrets: texts that no message may hold, the longest first.
    """

    files: Files
    base_url: str
    secrets: tuple[str, ...] = field(repr=False)

    @property
    def expected(self) -> tuple[type[Exception], ...]:
        return (OSError, *self.files.failures)

    @contextmanager
    def doing(self, verb: str, name: str, otherwise: type[StorageError] = StorageError) -> Iterator[None]:
        """Raise what goes wrong inside as a StorageError.

        verb: as in 'could not be stored'. otherwise: the class for what has no narrower one.
        """
        try:
            yield
        except StorageError:
            raise
        except self.expected as error:
            kind = self.files.kind_of(error)
            kind = otherwise if kind is StorageError else kind
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            clean = self._without_secrets(reason)
            failure = kind(
                f"{shown(name or '.')} could not be {verb} in {self.base_url}: {clean[:_MOST_REASON]}.",
                {"name": name, "storage": self.base_url},
                hint=_HINTS.get(kind),
            )
            # A traceback shows the cause too.
            raise failure from (error if clean == reason else None)

    def each(self, verb: str, name: str, found: Iterator[Entry]) -> Iterator[Entry]:
        """Yield what an iterator gives; only its own errors are translated, not those of whoever reads it."""
        while True:
            with self.doing(verb, name):
                entry = next(found, None)
            if entry is None:
                return
            yield entry

    def _without_secrets(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, "…")
        return text
