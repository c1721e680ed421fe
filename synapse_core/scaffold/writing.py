"""How it is written: a plugin's folder appears at once, an action with its entry or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from synapse_core.config import load_config
from synapse_core.errors import Conflict, InvalidRequest
from synapse_core.scaffold.asked import Chosen, what_stands_at
from synapse_core.scaffold.config_entry import with_action
from synapse_core.scaffold.texts import action_files, entry_of, files_beside, package_text

# Where a plugin is put together: one level too deep for a search to find it.
_UNFINISHED = ".synapse-new-"
_FORGOTTEN_SECONDS = 3600.0


def put_plugin(parent: Path, code: str, files: Mapping[str, str]) -> Path:
    """Make the folder `parent`/`code` with these files at once. Raises Conflict, or InvalidRequest."""
    target = parent / code
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _forget_unfinished(parent)
        with tempfile.TemporaryDirectory(prefix=_UNFINISHED, dir=parent) as holder:
            for name, content in files.items():
                _write_new(Path(holder, code, name), content)
            Path(holder, code).rename(target)
    except OSError as error:
        if os.path.lexists(target):
            raise Conflict(
                f"{target} is there now: {what_stands_at(target)}. Nothing was written."
            ) from error
        raise InvalidRequest(
            f"{target} cannot be written: {error.strerror or error}.", hint="Give another path."
        ) from error
    return target.resolve()


def put_action(config: Path, action: Chosen, check: Callable[[], object]) -> list[str]:
    """Write an action's files, then its entry in `config`, then check it; return the names of the files.

    Raises Conflict, InvalidRequest, InvalidConfig and what `check` raises; what was begun is taken back.
    """
    root, before = config.parent, config.read_bytes()
    after = with_action(before, action.name, entry_of(action))
    missing = _missing(root, action)
    new_folders = [folder for folder in (root / "plugin", root / "tests") if not folder.exists()]
    written: list[Path] = []
    try:
        for name, content in missing.items():
            _add(root / name, content)
            written.append(root / name)
        _replace(config, after)
        load_config(config)
        check()
    except BaseException as error:  # also where the process is told to end
        if config.read_bytes() != before:
            _replace(config, before)
        for path in written:
            path.unlink(missing_ok=True)
        for folder in new_folders:
            with suppress(OSError):  # somebody else's file is in it by now
                folder.rmdir()
        if isinstance(error, OSError):
            raise InvalidRequest(f"{root} cannot be written to: {error.strerror or error}.") from error
        raise
    return list(missing)


def _write_new(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8", newline="")


def _add(path: Path, content: str) -> None:
    """Make a file appear with all of its content. Raises FileExistsError where there is one."""
    finished = path.with_name(f".{path.name}.new")
    _write_new(finished, content)
    try:
        # Unlike a rename, a link never takes the place of a file.
        path.hardlink_to(finished)
    finally:
        finished.unlink()


def _forget_unfinished(parent: Path) -> None:
    """Remove what processes that were killed have left behind."""
    for holder in parent.glob(f"{_UNFINISHED}*"):
        if time.time() - holder.stat().st_mtime > _FORGOTTEN_SECONDS:
            shutil.rmtree(holder, ignore_errors=True)


def _replace(file: Path, content: bytes) -> None:
    """Give a file another content, the old one or the new one at any moment."""
    temporary = file.with_name(f".{file.name}.new")
    temporary.write_bytes(content)
    shutil.copymode(file, temporary)
    temporary.replace(file)


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Keep others out who would add to the same plugin meanwhile."""
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _missing(root: Path, action: Chosen) -> dict[str, str]:
    """Return the files of an action that its plugin lacks.

    Raises Conflict for one that says something else; what the action imports may be the plugin's own.
    """
    if (root / "plugin.py").exists():
        raise Conflict(
            f"{root / 'plugin.py'} is in the way of the package `plugin`, in which actions are put."
        )
    files = action_files(action)
    if not (root / "plugin").exists():
        files = {"plugin/__init__.py": package_text(), **files}
    missing = {}
    for name, content in files.items():
        path = root / name
        if not os.path.lexists(path):
            missing[name] = content
        elif name not in files_beside(action.spec) and not _holds(path, content):
            raise Conflict(
                f"{path} is there already. Nothing was written.", hint="Choose another name for the action."
            )
    return missing


def _holds(path: Path, content: str) -> bool:
    """Return True for what an addition that was killed has left behind."""
    return path.is_file() and path.read_bytes() == content.encode("utf-8")
