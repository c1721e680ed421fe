"""Storage: files below one base, on this machine or elsewhere, used alike. `get_storage` is where to begin.

    storage = get_storage({"provider": "local", "configuration": {"location": "/data"}})
    url = storage.upload("image.png", "images/0001.png")

Providers are local, s3, gcs, sftp, http and memory. The libraries behind s3, gcs and sftp are extras.
"""

from synapse_core.storage.files import Capabilities, Entry
from synapse_core.storage.providers import (
    get_capabilities,
    get_path_file_count,
    get_path_total_size,
    get_pathlib,
    get_registered_providers,
    get_storage,
    register_provider,
)
from synapse_core.storage.storage import Storage
from synapse_core.storage.storage_path import StoragePath

__all__ = [
    "get_storage",
    "Storage",
    "Capabilities",
    "Entry",
    "StoragePath",
    "register_provider",
    "get_registered_providers",
    "get_capabilities",
    "get_pathlib",
    "get_path_file_count",
    "get_path_total_size",
]
