"""What became of the files of an upload: reasons why some were left out, and the result."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import Field

from synapse_core.plain_text import spelt_out
from synapse_core.schemas import UploadResult

MOST_LISTED = 100


class FailureCode(StrEnum):
    """Why a file, a row of the metadata or a data unit was left out."""

    DUPLICATE_FILE = "DUPLICATE_FILE"
    FILE_LOCKED = "FILE_LOCKED"
    FILE_CORRUPTED = "FILE_CORRUPTED"
    UNSUPPORTED_EXTENSION = "UNSUPPORTED_EXTENSION"
    FILE_TOO_LARGE = "FILE_TOO_LARGE"
    MISSING_REQUIRED_DATA = "MISSING_REQUIRED_DATA"
    VFR_VALIDATION_FAILED = "VFR_VALIDATION_FAILED"
    UNSAFE_CONTENT = "UNSAFE_CONTENT"
    INVALID_METADATA = "INVALID_METADATA"
    INVALID_LABEL = "INVALID_LABEL"
    UPLOAD_FAILED = "UPLOAD_FAILED"
    DATA_UNIT_CREATION_FAILED = "DATA_UNIT_CREATION_FAILED"
    UNKNOWN_ERROR = "UNKNOWN_ERROR"


@dataclass(frozen=True)
class Failure:
    """One file, or one group of files, that was left out. path: as it may be shown."""

    path: str
    code: FailureCode
    message: str


class FileRefused(Exception):
    """Raised where one file is looked at, and caught where its failure is written down."""

    def __init__(self, code: FailureCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass
class Outcome:
    """Counts all that was left out, and lists the first of each kind. Safe for several threads.

    skipped: what is nothing to worry about, such as duplicates.
    """

    counts: Counter[FailureCode] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    lost_count: int = 0
    skipped: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def fail(self, path: str, code: FailureCode, message: str) -> None:
        """Write down that something was left out."""
        with self._lock:
            self.counts[code] += 1
            if self.counts[code] <= MOST_LISTED:
                self.failures.append(Failure(spelt_out(path), code, message))

    def lose(self, path: str) -> None:
        """Write down that a file that was fit for it did not reach the storage."""
        with self._lock:
            self.lost_count += 1
            if len(self.lost) < MOST_LISTED:
                self.lost.append(spelt_out(path))

    def skip(self, path: str, message: str) -> None:
        """Write down a duplicate: it is no failure, and can be looked up."""
        with self._lock:
            self.skipped += 1
            if self.skipped <= MOST_LISTED:
                self.failures.append(Failure(spelt_out(path), FailureCode.DUPLICATE_FILE, message))

    @property
    def total(self) -> int:
        """How many failures there are."""
        return sum(self.counts.values())

    def first_reason(self) -> str:
        """Return the most frequent reasons in a sentence, an empty text where there is none."""
        if not self.counts:
            return ""
        told = ", ".join(f"{code} ({number})" for code, number in self.counts.most_common(3))
        first = next((one for one in self.failures if one.code in self.counts), None)
        return f"{told}; the first: {first.path}: {first.message}" if first else told


class UploadSummary(UploadResult):
    """The result of an upload. uploaded_files and data_units are numbers.

    partial_failure: something was left out that is no duplicate. lost_files: the first that could not be
    stored. failures: reason -> how often. failed_files: the first of each reason, {path, code, message}.
    """

    success: bool = True
    steps_executed: int = 0
    steps_total: int = 0
    data_collection: int | None = None
    uploaded_files: int = 0
    data_units: int = 0
    total_files: int = 0
    skipped_duplicates: int = 0
    partial_failure: bool = False
    lost_files_count: int = 0
    lost_files: list[str] = Field(default_factory=list, max_length=MOST_LISTED)
    failures: dict[str, int] = Field(default_factory=dict)
    failed_files: list[dict[str, Any]] = Field(default_factory=list)
    import_log_id: str = ""
