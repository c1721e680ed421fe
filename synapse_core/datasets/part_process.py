"""`python -m synapse_core.datasets.part_process`: converts parts of a dataset for another process."""

from __future__ import annotations

import os
import sys

from synapse_core.datasets.parts import serve_parts

if __name__ == "__main__":
    # What a library prints must not get among the results.
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve_parts(sys.stdin.buffer, results)
