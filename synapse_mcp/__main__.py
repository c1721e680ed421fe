"""`python -m synapse_mcp`: the server over standard input and output."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from synapse_mcp.wire import Wire, claim_wire, serve_stdio


def main(arguments: Sequence[str], wire: Wire | None = None) -> int:
    """Serve until the input ends or a signal comes. Returns the exit code."""
    from synapse_mcp.settings import parse_arguments  # --help is for a person: it may still use stdout

    settings = parse_arguments(arguments)
    # Claimed before the heavy imports: nothing that any of them prints can reach the client.
    wire = wire or claim_wire()
    from synapse_mcp.server import build_server

    return serve_stdio(build_server(settings), wire)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
