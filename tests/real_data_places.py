"""Where real data sets of third parties lie; none is part of this repository."""

from __future__ import annotations

import os
from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[2] / "shared" / "data"
DATA = Path(os.environ.get("SYNAPSE_TEST_DATA", _BESIDE))
