"""DM, version 2: see dm_documents.py for its documents and dm_layout.py for its folders."""

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
    return DmReader(source, options, "dm_v2")


FORMATS = {
    "dm_v2": Format(
        "dm_v2",
        "DM version 2 documents, one a data unit",
        frozenset(KINDS),
        partial(detect, version=2),
        read,
        partial(write_version, version=2),
        is_by_stem=True,
        is_flat=True,
        has_crowds=True,
        note="version 1 comes back from meta/, where it was made from that; sizes are those of the images",
    )
}
