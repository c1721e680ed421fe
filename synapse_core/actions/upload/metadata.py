"""Metadata of files out of a table, XLSX or CSV: a column with file names, and columns that say something.

Every limit is checked before, or while, the table is read; what goes beyond one fails the upload. Which row
belongs to which file is in `metadata_match`.
"""

from __future__ import annotations

import csv
import io
import os
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from synapse_core.actions.upload.archives import UnsafeArchive, read_members
from synapse_core.errors import ExecutionError, InvalidMetadata, InvalidRequest, UnsafeMetadata

NAMES = ("meta.xlsx", "meta.xls", "meta.csv")

MOST_BYTES = 10 << 20
MOST_ROWS = 100_000
MOST_COLUMNS = 300
MOST_FILE_NAME = 255
MOST_COLUMN_NAME = 100
MOST_VALUE = 1000
# Unpacked: the texts of a workbook are held in memory, its sheets are read row by row.
_MOST_HELD_BYTES = 30 << 20
_MOST_UNPACKED_BYTES = 100 << 20
_MOST_MEMBERS = 1000
_MOST_RATIO = 200
_SMALL_BYTES = 1 << 20
_FIRST_HEADERS = ("filename", "file_name")
_HINT = "Split the table, or leave out what the data units do not need."

Row = tuple[Any, ...]


@dataclass
class Metadata:
    """rows: name of a file as the table has it -> column -> value. repeated: names that were there before."""

    path: str
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    repeated: int = 0


def find_metadata(given: str | None, folder: str | None) -> Path | None:
    """Return the table that was given, else the one in the folder, None where there is none.

    Raises InvalidRequest where the one that was given is not there.
    """
    if given is not None:
        path = Path(given).expanduser()
        if not path.is_absolute() and folder is not None and not path.exists():
            path = Path(folder) / path
        if not path.is_file():
            raise InvalidRequest(
                f"There is no metadata file {given!r}.", hint="Correct excel_metadata_path, or leave it out."
            )
        return path
    if folder is None:
        return None
    return next((path for name in NAMES if (path := Path(folder) / name).is_file()), None)


def read_metadata(path: Path) -> Metadata:
    """Return what a table says.

    Raises UnsafeMetadata, InvalidMetadata, and InvalidRequest where a package is absent.
    """
    with _opened(path) as content:
        ending = path.suffix.lower()
        if ending == ".xlsx":
            return _collected(path, _rows_of_workbook(content, path))
        if ending == ".csv":
            return _collected(path, _rows_of_csv(content, path))
    raise InvalidMetadata(
        f"{path.name} is no table that can be read: only .xlsx and .csv are.",
        hint="Save it as .xlsx or .csv.",
    )


def _opened(path: Path) -> BinaryIO:
    """Open a table whose size is within the limit; its content is not touched before."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidMetadata(f"{path.name} cannot be read: {error.strerror}.") from error
    content = os.fdopen(descriptor, "rb")
    found = os.fstat(descriptor)
    problem: ExecutionError | None = None
    if not stat.S_ISREG(found.st_mode):
        problem = InvalidMetadata(f"{path.name} is no file.")
    elif found.st_size > MOST_BYTES:
        problem = _too_much(path, f"it has {found.st_size:,} bytes; at most {MOST_BYTES:,} are read")
    if problem is not None:
        content.close()
        raise problem
    return content


def _rows_of_csv(content: BinaryIO, path: Path) -> Iterator[Row]:
    try:
        with io.TextIOWrapper(content, encoding="utf-8-sig", newline="") as text:
            for row in csv.reader(text, strict=True):
                yield tuple(row)
    except UnicodeDecodeError as error:
        raise InvalidMetadata(
            f"{path.name} is not in UTF-8: {error.reason}.", hint="Save it as UTF-8."
        ) from error
    except csv.Error as error:
        if "field larger" in str(error):
            raise _too_much(path, "a value has more than 131,072 characters") from error
        raise InvalidMetadata(f"{path.name} is no CSV file with commas: {error}.") from error


def _rows_of_workbook(content: BinaryIO, path: Path) -> Iterator[Row]:
    """Yield the rows of the first sheet."""
    _check_workbook(content, path)
    try:
        import openpyxl  # optional, and 0.3 s for who has no workbook
    except ImportError as error:
        raise InvalidRequest(
            f"{path.name} can be read only with the package openpyxl, which is not installed.",
            hint="pip install 'synapse-mcp[excel]', or save the table as CSV.",
        ) from error
    broken = (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, SyntaxError, EOFError)
    try:
        book = openpyxl.load_workbook(content, read_only=True, data_only=True, keep_links=False)
        try:
            sheet = book.worksheets[0]
            sheet.reset_dimensions()  # what a sheet says of its own size is not to be trusted
            # One more than there may be, so that it is seen.
            yield from sheet.iter_rows(values_only=True, max_col=MOST_COLUMNS + 1)
        finally:
            book.close()
    except (*broken, zipfile.BadZipFile) as error:
        raise InvalidMetadata(f"{path.name} is no workbook that can be read: {error}.") from error


def _check_workbook(content: BinaryIO, path: Path) -> None:
    """Raise UnsafeMetadata for a workbook that unpacks to more than it should, or that has entities."""
    try:
        members = read_members(content)
        if len(members) > _MOST_MEMBERS:
            raise UnsafeArchive(f"it has {len(members):,} members")
        if (total := sum(member.file_size for member in members)) > _MOST_UNPACKED_BYTES:
            raise UnsafeArchive(f"unpacked it has {total:,} bytes")
        for member in members:
            _check_member(member)
        with zipfile.ZipFile(content) as archive:
            for member in members:
                _check_markup(archive, member)
    except UnsafeArchive as error:
        raise _too_much(path, str(error)) from error
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise InvalidMetadata(f"{path.name} is no workbook that can be read: {error}.") from error
    content.seek(0)


def _check_member(member: zipfile.ZipInfo) -> None:
    # Zip's own methods unpack to no more than is told here.
    is_held = not member.filename.startswith("xl/worksheets/")
    if is_held and member.file_size > _MOST_HELD_BYTES:
        raise UnsafeArchive(f"its part {member.filename[:60]!r} has {member.file_size:,} bytes unpacked")
    if member.file_size > _SMALL_BYTES and member.file_size > _MOST_RATIO * max(1, member.compress_size):
        raise UnsafeArchive(
            f"its part {member.filename[:60]!r} is a bomb: {member.file_size:,} bytes unpacked"
        )


def _check_markup(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    """Refuse XML with a document type: workbooks have none, and its entities can fill any memory."""
    if not member.filename.lower().endswith((".xml", ".rels", ".vml")):
        return
    rest = b""
    with archive.open(member) as content:
        while block := content.read(1 << 20):
            if not rest and b"\0" in block[:4]:
                raise UnsafeArchive(f"its part {member.filename[:60]!r} is not in UTF-8")
            if b"<!DOCTYPE" in rest + block or b"<!ENTITY" in rest + block:
                raise UnsafeArchive(f"its part {member.filename[:60]!r} has a document type")
            rest = block[-16:]


def _collected(path: Path, rows: Iterable[Row]) -> Metadata:
    """Return the rows by file name; of two rows for one file the later one counts."""
    columns: list[str] | None = None
    metadata = Metadata(str(path))
    for number, row in enumerate(rows, start=1):
        if number > MOST_ROWS + 1:
            raise _too_much(path, f"it has more than {MOST_ROWS:,} rows")
        if len(row) > MOST_COLUMNS and any(value not in (None, "") for value in row[MOST_COLUMNS:]):
            raise _too_much(path, f"it has more than {MOST_COLUMNS} columns")
        if columns is None:
            columns = _header(path, row)
            continue
        name = _cell(path, number, row[0]) if row else None
        if name in (None, ""):
            continue
        name = str(name).strip()
        if len(name) > MOST_FILE_NAME:
            raise _too_much(path, f"row {number}: the file name has {len(name)} characters")
        values = {
            column: value
            for column, cell in zip(columns[1:], row[1:], strict=False)
            if column and (value := _cell(path, number, cell)) not in (None, "")
        }
        metadata.repeated += name in metadata.rows
        metadata.rows[name] = values
    if columns is None:
        raise InvalidMetadata(f"{path.name} is empty.")
    return metadata


def _header(path: Path, row: Row) -> list[str]:
    names = ["" if cell is None else str(cell).strip() for cell in row]
    while names and not names[-1]:
        names.pop()
    if not names or names[0].lower() not in _FIRST_HEADERS:
        first = names[0][:40] if names else ""
        raise InvalidMetadata(
            f"The first column of {path.name} is called {first!r}; it has to be filename.",
            hint="Let the first row hold the names of the columns, and the first column the files' names.",
        )
    if len(names) < 2:
        raise InvalidMetadata(f"{path.name} has no column beside the file names.")
    if longest := next((name for name in names if len(name) > MOST_COLUMN_NAME), None):
        raise _too_much(
            path, f"a column's name has {len(longest)} characters; at most {MOST_COLUMN_NAME} are read"
        )
    return names


def _cell(path: Path, number: int, value: Any) -> Any:
    """Return a value as JSON has it."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    text = str(value)
    if len(text) > MOST_VALUE:
        raise _too_much(
            path, f"row {number}: a value has {len(text):,} characters; at most {MOST_VALUE} are read"
        )
    return text


def _too_much(path: Path, what: str) -> UnsafeMetadata:
    return UnsafeMetadata(f"The metadata in {path.name} was not read: {what}.", hint=_HINT)
