"""Where an upload goes: the data collection, found or to be made, its storage and its file specifications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from synapse_core.actions.upload.context import UploadContext
from synapse_core.actions.upload.file_types import type_of
from synapse_core.actions.upload.sources import SourceFile
from synapse_core.backend import DataCollection, FileSpecification
from synapse_core.errors import InvalidRequest


def find_path(context: UploadContext) -> Path | None:
    """Return the folder of a single-path upload, None where there are several paths.

    Raises InvalidRequest where one of the paths is not there.
    """
    settings = context.settings
    paths = [settings.path] if settings.use_single_path else [one.path for one in settings.assets.values()]
    for path in paths:
        if path is not None and not Path(path).expanduser().exists():
            raise InvalidRequest(
                f"There is nothing at {path!r}.", hint="Give the path of a folder with files."
            )
    return Path(settings.path).expanduser().absolute() if settings.use_single_path and settings.path else None


def find_collection(context: UploadContext) -> DataCollection | None:
    """Return the collection that is named, else the project's, else the one called like the upload.

    None where it is to be made. Raises InvalidRequest where the parameters do not agree.
    """
    settings, client = context.settings, context.client
    wanted = settings.data_collection
    if context.project is not None:
        if wanted is not None and wanted != context.project.data_collection:
            raise InvalidRequest(
                f"Project {context.project.id} belongs to data collection {context.project.data_collection}, "
                f"not to {wanted}.",
                hint="Leave out data_collection.",
            )
        wanted = context.project.data_collection
    collection = client.get_data_collection(wanted) if wanted is not None else None
    if collection is None:
        same = list(client.list_data_collections({"name": settings.name}))
        if len(same) > 1:
            ids = ", ".join(str(one.id) for one in same)
            raise InvalidRequest(
                f"{len(same)} data collections are called {settings.name!r}: {ids}.",
                hint="Say which by data_collection.",
            )
        collection = same[0] if same else None
    if collection is not None and settings.storage not in (None, collection.storage):
        raise InvalidRequest(
            f"Data collection {collection.id} is kept in storage {collection.storage}, "
            f"not in {settings.storage}.",
            hint="Leave out storage.",
        )
    return collection


def make_collection(context: UploadContext) -> DataCollection:
    """Return the collection, made where there is none yet."""
    if context.data_collection is not None:
        return context.data_collection
    settings = context.settings
    primary = next((one for one in context.specifications if one.is_primary), context.specifications[0])
    context.has_made_collection = True
    context.data_collection = context.client.create_data_collection(
        settings.name,
        context.specifications,
        storage=settings.storage,
        category=primary.file_type,
        description=settings.description or "",
    )
    return context.data_collection


def propose_specifications(found: Mapping[str, Sequence[SourceFile]]) -> tuple[FileSpecification, ...]:
    """Return specifications for a new collection that its first files fit.

    Files in paths of their own: one for each path. Else one for each type, `image_1` for example. The one
    with the most files is primary, and the only one that is required.
    """
    types: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for name, files in found.items():
        by_type: Counter[str] = Counter()
        for extension, count in Counter(file.extension for file in files).items():
            by_type[type_of(extension)] += count
        if name:
            types[name] = by_type.most_common(1)[0][0] if by_type else "data"
            counts[name] = len(files)
            continue
        for file_type, count in by_type.items():
            types[f"{file_type}_1"] = file_type
            # What describes the others, a JSON file for each image, is not what it is about.
            counts[f"{file_type}_1"] = 0 if file_type == "data" else count
    if not types:
        return ()
    primary = max(types, key=lambda name: counts[name])
    return tuple(
        FileSpecification(
            name=name, file_type=types[name], is_primary=name == primary, is_required=name == primary
        )
        for name in sorted(types)
    )


def check_assets(context: UploadContext) -> None:
    """Raise InvalidRequest where the paths of a multi-path upload are not those of the specifications."""
    if context.settings.use_single_path:
        return
    given = set(context.settings.assets)
    known = {one.name for one in context.specifications}
    if unknown := sorted(given - known):
        raise InvalidRequest(
            f"The data collection has no file specification {', '.join(map(repr, unknown))}; "
            f"it has {', '.join(sorted(known))}.",
            hint="Name each path in assets after a file specification.",
        )
    if missing := sorted(
        one.name for one in context.specifications if one.is_required and one.name not in given
    ):
        raise InvalidRequest(
            f"assets has no path for {', '.join(missing)}, which each data unit needs.", hint="Add it."
        )
