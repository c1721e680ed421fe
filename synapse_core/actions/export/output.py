"""The folder of one export in a storage: made under a free name, and taken away again."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synapse_core.errors import CapabilityError

if TYPE_CHECKING:
    from synapse_core.storage import Storage


@dataclass(frozen=True)
class Folder:
    """A folder that was made. parents: folders above it that were made with it, the innermost first."""

    name: str
    parents: tuple[str, ...] = ()

    def __truediv__(self, part: str) -> str:
        return f"{self.name}/{part}"


def make_unique_folder(storage: Storage, root: str, name: str) -> Folder:
    """Make a folder `name`, `name(1)` and so on below `root`, whichever is the first that is free.

    Where folders come and go with their files, nothing is made and the name is only found to be free.
    Raises CapabilityError where the storage cannot tell what there is, or cannot delete.
    """
    able = storage.capabilities
    if not (able.lists and able.deletes):
        raise CapabilityError(
            f"A storage of provider {storage.provider!r} cannot take an export: it cannot tell what it has, "
            "or not delete what a failed export would leave.",
            hint="Give the id of another storage, of provider local, s3, gcs or sftp.",
        )
    parents = _missing_parents(storage, root) if able.makes_folders else ()
    storage.make_dirs(root)
    number = 0
    while True:
        folder = "/".join(part for part in (root, f"{name}({number})" if number else name) if part)
        if storage.is_local:
            # Made or refused in one step: two exports at the same time never share a folder.
            with suppress(FileExistsError):
                Path(str(storage.get_pathlib(folder))).mkdir()
                return Folder(folder, parents)
        elif not storage.exists(folder):
            storage.make_dirs(folder)
            return Folder(folder, parents)
        number += 1


def remove_folder(storage: Storage, folder: Folder) -> None:
    """Remove a folder with all that is in it, and those above it that were made with it and are empty."""
    storage.delete_tree(folder.name)
    for parent in folder.parents:
        if storage.exists(parent) and not storage.entries(parent):
            storage.delete_tree(parent)


def _missing_parents(storage: Storage, root: str) -> tuple[str, ...]:
    missing = []
    while root and not storage.exists(root):
        missing.append(root)
        root = root.rpartition("/")[0]
    return tuple(missing)
