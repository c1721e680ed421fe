"""Files in the memory of this process, for tests and for trying something out. They are gone with it."""

from __future__ import annotations

from typing import Any

from fsspec.implementations.memory import MemoryFileSystem

from synapse_core.storage.configuration import Setting
from synapse_core.storage.files import Capabilities, Provider
from synapse_core.storage.names import check_folder
from synapse_core.storage.object_files import ObjectFiles


def _connect(configuration: dict[str, Any]) -> ObjectFiles:
    location = configuration["location"]
    root = f"/{location}/" if location else "/"
    return ObjectFiles(MemoryFileSystem(), root, f"memory:/{root}")


PROVIDER = Provider(
    name="memory",
    settings=(Setting("location", "the name of a folder, such as 'one/two'", check_folder, default=""),),
    capabilities=Capabilities(lists=True, deletes=True, opens=True, renames=True),
    connect=_connect,
)
