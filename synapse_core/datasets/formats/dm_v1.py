"""DM, version 1: see dm_documents.py for its documents and dm_layout.py for its folders."""

from __future__ import annotations

from functools import partial

from synapse_core.datasets.format import Format, Reader
from synapse_core.datasets.formats.dm_layout import detect
from synapse_core.datasets.formats.dm_read import DmReader
from synapse_core.datasets.formats.dm_write import write_version
from synapse_core.datasets.model import KINDS
from synapse_core.datasets.options import ConvertOptions
from synapse_core.datasets.source import Source


def read(source: Source, options: ConvertOptions) -> Reader:
    """Look through the documents for what is in all of them."""
    return DmReader(source, options, "dm_v1")


FORMATS = {
    "dm_v1": Format(
        "dm_v1",
        "DM version 1 documents, one an event (dm_schema_v1)",
        frozenset(KINDS),
        partial(detect, version=1),
        read,
        partial(write_version, version=1),
        is_by_stem=True,
        is_flat=True,
        has_crowds=True,
        note="a size a medium; what only DM knows comes back from a DM source",
    )
}
