"""The files that the pages are made of, and the one page that is made of them for other hosts."""

from __future__ import annotations

import re
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"
# What the page of one run consists of, each after those that it imports.
_PARTS = ("dom.js", "words.js", "chart.js", "run_view.js", "mcp_app.js")
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)


def page(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def run_page() -> str:
    """Return the view of one run as a single HTML document that loads nothing: styles and scripts inside."""
    script = "\n".join(_EXPORT.sub("", _IMPORT.sub("", page(name))) for name in _PARTS)
    return (
        page("mcp_app.html")
        .replace("/* the styles */", page("style.css"))
        .replace("/* the script */", script.replace("</", "<\\/"))
    )
