"""`python -m synapse_mcp` and `synapse-mcp`: the server over standard input and output, or a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from synapse_mcp.wire import claim_wire, serve_stdio


def main() -> int:
    """Serve where nothing else is asked for, else do what the command says. Returns the exit code."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] == "serve" or arguments[0].startswith("-"):
        return serve(arguments[1:] if arguments[:1] == ["serve"] else arguments)
    from synapse_mcp.cli import app  # a server needs no command line

    app()
    return 0


def serve(arguments: Sequence[str]) -> int:
    """Serve until the input ends or a signal comes."""
    from synapse_mcp.settings import parse_arguments  # --help is for a person: it may still use stdout

    settings = parse_arguments(arguments)
    # Claimed before the heavy imports: nothing that any of them prints can reach the client.
    wire = claim_wire()
    from synapse_mcp.server import build_server  # one of them

    return serve_stdio(build_server(settings), wire)


if __name__ == "__main__":
    sys.exit(main())
