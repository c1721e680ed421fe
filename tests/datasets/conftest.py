"""How hypothesis runs here: no example is too slow on a machine that others use, and none is stored."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("datasets", deadline=None, database=None)
settings.load_profile("datasets")
