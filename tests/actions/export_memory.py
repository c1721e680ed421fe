"""Exports a home's project in a process of its own, and prints `items kilobytes`: by how much it grew.

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


home = Path(sys.argv[1])
context = RuntimeContext(logger=NoOpLogger(), client=LocalBackend(home), run_folder=home / "run")
asked = {"filter": {"project": int(sys.argv[2])}, "save_original_file": False}
before = peak()
result = LocalExecutor().execute(DefaultExportAction, asked, context=context)
print(result["exported_count"], peak() - before)
