"""Stores as they are after years of use, written in seconds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import sqlalchemy as sa

from synapse_core.database import open_database
from synapse_core.database import runs as table
from synapse_core.enums import RunState
from synapse_core.processes import ProcessId
from synapse_core.run_folder import ActionRef, RunRequest
from synapse_core.runs.beginning import queued_run

_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def fill_runs(home: Path, count: int) -> list[str]:
    """Record ended runs of ten plugins, one a second. Returns their ids, the oldest first."""
    submitter = msgspec.json.encode(ProcessId.current())
    ids = [f"run-{number:016d}" for number in range(count)]
    rows = []
    for number, run_id in enumerate(ids):
        state = RunState.FAILED if number % 10 == 0 else RunState.SUCCEEDED
        created = _BEGAN + timedelta(seconds=number)
        request = RunRequest(
            run_id=run_id, plugin=f"p{number % 10}", root="", actions=(ActionRef("act", "m:A"),), mode="local"
        )
        run = msgspec.structs.replace(
            queued_run(request, created), state=state, started=created, ended=created + timedelta(seconds=5)
        )
        rows.append(
            {
                "run_id": run_id,
                "run_key": None,
                "fingerprint": "0" * 64,
                "plugin": run.plugin,
                "action": run.action,
                "mode": run.mode,
                "created": created.timestamp(),
                "submitter": submitter,
                "state": state.value,
                "snapshot": msgspec.json.encode(run),
                "events_read": 0,
            }
        )
    engine = open_database(home)
    with engine.begin() as connection:
        connection.execute(sa.insert(table), rows)
    engine.dispose()
    return ids


def write_log(home: Path, run_id: str, lines: int) -> Path:
    """Write the log of a run."""
    folder = home / "runs" / run_id
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "output.log"
    with open(log, "w") as file:
        file.writelines(
            f"12:00:00 INFO     line {number} of a run that says much about itself\n"
            for number in range(lines)
        )
    return log


def write_dataset(folder: Path, classes: int) -> None:
    """Write a COCO file with so many classes, and one object of each."""
    folder.mkdir(parents=True)
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 640, "height": 480}],
        "categories": [{"id": n, "name": f"a class with number {n}"} for n in range(1, classes + 1)],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": n, "bbox": [1, 1, 5, 5], "area": 25, "iscrowd": 0}
            for n in range(1, classes + 1)
        ],
    }
    (folder / "instances.json").write_text(json.dumps(document))


def write_plugins(folder: Path, count: int) -> None:
    """Write so many plugins with three actions each."""
    for number in range(count):
        root = folder / f"plugin_{number:04d}"
        root.mkdir(parents=True)
        actions = "".join(
            f"  {name}: {{entrypoint: 'code:Act', description: What {name} does}}\n"
            for name in ("train", "test", "export")
        )
        (root / "config.yaml").write_text(
            f"name: Number {number}\ncode: {root.name}\nversion: 1.0.0\n"
            f"description: The plugin number {number}\nactions:\n{actions}"
        )
