"""How many files of each kind an export has written, failed to write and not reached."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class FileCount:
    """Files of one kind."""

    success: int = 0
    failed: int = 0

    def as_metrics(self, total: int) -> dict[str, int]:
        """Return {stand_by, success, failed}; stand_by are those that were not reached yet."""
        waiting = max(total - self.success - self.failed, 0)
        return {"stand_by": waiting, "success": self.success, "failed": self.failed}


@dataclass
class Tally:
    """The counts of an export.

    without_original: items that have no original file. written_later: items whose data go into a file that
    is written when all items are there.
    """

    original_file: FileCount = field(default_factory=FileCount)
    data_file: FileCount = field(default_factory=FileCount)
    without_original: int = 0
    written_later: int = 0
