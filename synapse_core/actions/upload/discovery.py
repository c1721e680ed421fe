"""Which files an upload is about: found below its paths, and looked at one by one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from synapse_core.actions.upload.context import UploadContext
from synapse_core.actions.upload.crew import Tell
from synapse_core.actions.upload.metadata import find_metadata
from synapse_core.actions.upload.report import FileRefused
from synapse_core.actions.upload.screening import check_by_name, screen
from synapse_core.actions.upload.sources import SourceFile, find_files

_MIB = 1 << 20


def find_all(context: UploadContext) -> None:
    """Fill `found_files`. A single path has a sub-folder for each specification, or none for any."""
    settings = context.settings
    tables = _tables(context)
    context.found_files = {
        name: [file for file in find_files(root, is_recursive, context.outcome) if file.path not in tables]
        for name, root, is_recursive in _roots(context)
    }
    context.total_files = sum(map(len, context.found_files.values())) + context.outcome.total
    context.log(
        "files_found",
        {
            "path": settings.path,
            "files": {name or "all": len(some) for name, some in context.found_files.items()},
        },
    )


def screen_all(context: UploadContext, tell: Tell) -> None:
    """Leave out of `found_files` what must not be uploaded."""
    settings, outcome = context.settings, context.outcome
    most_bytes = settings.max_file_size_mb * _MIB

    def is_fit(file: SourceFile) -> bool:
        try:
            check_by_name(file, most_bytes, context.allowed_extensions)
            screen(file)
        except FileRefused as refused:
            outcome.fail(file.relative, refused.code, refused.message)
            return False
        return True

    everything = [(name, file) for name, files in context.found_files.items() for file in files]
    fit = context.crew.work_off([file for _, file in everything], is_fit, settings.upload_max_workers, tell)
    context.crew.settle()
    kept: dict[str, list[SourceFile]] = {name: [] for name in context.found_files}
    for (name, file), is_kept in zip(everything, fit, strict=True):
        if is_kept:
            kept[name].append(file)
    context.found_files = kept


def folder_of(context: UploadContext) -> str | None:
    """Return the folder in which a table of metadata may lie, None where there is no such."""
    path = context.pathlib_cwd
    return str(path) if path is not None and path.is_dir() else None


def _roots(context: UploadContext) -> Iterator[tuple[str, str, bool]]:
    """Yield (specification or '', path, whether sub-folders count)."""
    settings = context.settings
    if not settings.use_single_path:
        for name, asset in settings.assets.items():
            yield name, str(Path(asset.path).expanduser()), asset.is_recursive
        return
    root = str(context.pathlib_cwd)
    specifications = context.data_collection.file_specifications if context.data_collection else ()
    folders = [one.name for one in specifications if "/" not in one.name and _is_folder_of(root, one.name)]
    for name in folders:
        yield name, str(Path(root, name)), settings.is_recursive
    if not folders:
        yield "", root, settings.is_recursive


def _is_folder_of(root: str, name: str) -> bool:
    """Return True for a real folder in the root; the name comes from a backend."""
    path = Path(root, name)
    return name not in ("", ".", "..") and path.is_dir() and not path.is_symlink()


def _tables(context: UploadContext) -> set[str]:
    """Return the paths of the metadata, which is no data."""
    found = find_metadata(context.settings.excel_metadata_path, folder_of(context))
    return set() if found is None else {os.path.realpath(found), str(Path(found).absolute())}
