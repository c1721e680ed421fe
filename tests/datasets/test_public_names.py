"""The public names of synapse_core.datasets, and what it costs to import them."""

from __future__ import annotations

import subprocess
import sys

import synapse_core.datasets as datasets


def test_every_public_name_is_there():
    assert [name for name in datasets.__all__ if not hasattr(datasets, name)] == []
    assert sorted(datasets.__all__) == sorted(datasets._HOMES)


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("numpy", "PIL", "ray", "fsspec", "msgspec", "yaml")
    code = f"import sys, synapse_core.datasets; print([name for name in {heavy} if name in sys.modules])"

    assert _run(code) == "[]"


def test_looking_at_boxes_needs_neither_numpy_nor_pillow():
    code = (
        "import sys; from synapse_core.datasets import inspect, validate, convert, read; "
        "print([name for name in ('numpy', 'PIL', 'ray') if name in sys.modules])"
    )

    assert _run(code) == "[]"


def _run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()
