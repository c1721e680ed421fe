"""How hypothesis runs here: the same examples every time, none too slow for a busy machine, none stored."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("datasets", deadline=None, database=None, derandomize=True)
settings.load_profile("datasets")
