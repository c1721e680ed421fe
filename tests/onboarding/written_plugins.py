"""Plugins that a test writes for itself."""

from __future__ import annotations

from pathlib import Path


def write_plugin(folder: Path, code: str, source: str, config: str = "") -> Path:
    """Write a plugin with one action, `act`, whose class is Act."""
    root = folder / code
    root.mkdir()
    (root / "config.yaml").write_text(
        f"name: {code}\ncode: {code}\nversion: 1.0.0\n{config}\n"
        f"actions:\n  act: {{entrypoint: '{code}_code:Act', method: local}}\n"
    )
    (root / f"{code}_code.py").write_text(source)
    return root
