"""The names of the files that a conversion writes beside the annotations, and that no reader takes for
those."""

from __future__ import annotations

from synapse_core.datasets.source import Source, walk

# The choices, the classes, the names that had to change.
CARD_NAME = "synapse.json"
LOSSES_NAME = "losses.jsonl"


def json_files(source: Source) -> list[str]:
    """Return the paths of the JSON files of a source that may hold annotations."""
    if source.only is not None:
        return [source.only]
    return [path for path in walk(source) if path.lower().endswith(".json") and path != CARD_NAME]
