"""Exports 300 items of a home's project, then all. Prints `300 items kilobytes`: by how much that grew.

export_memory.py HOME PROJECT
"""

from __future__ import annotations

import sys
from pathlib import Path

from synapse_core.actions.export import DefaultExportAction
from synapse_core.backend.local import LocalBackend
from synapse_core.context import RuntimeContext
from synapse_core.executors import LocalExecutor
from synapse_core.loggers import NoOpLogger


def peak() -> int:
    """Return the most memory that this process had, without what it inherited, in kilobytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def export(**filters: object) -> int:
    asked = {"filter": {"project": int(sys.argv[2]), **filters}, "save_original_file": False}
    return int(LocalExecutor().execute(DefaultExportAction, asked, context=context)["exported_count"])


home = Path(sys.argv[1])
context = RuntimeContext(logger=NoOpLogger(), client=LocalBackend(home), run_folder=home / "run")
few = export(id=list(range(1, 301)))
before = peak()
print(few, export(), peak() - before)
