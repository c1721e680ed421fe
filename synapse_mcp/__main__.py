"""`python -m synapse_mcp` and `synapse-mcp`: the server, or a command."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence

from synapse_core.errors import SynapseError


def main() -> int:
    """Serve where nothing else is asked for, else do what the command says. Returns the exit code."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] == "serve" or arguments[0].startswith("-"):
        return serve(arguments[1:] if arguments[:1] == ["serve"] else arguments)
    if arguments[0] in ("convert", "inspect"):
        from synapse_mcp.cli_datasets import app  # neither runs nor the protocol: a third of the imports
    else:
        from synapse_mcp.cli import app  # a server needs no command line
    app()
    return 0


def serve(arguments: Sequence[str]) -> int:
    """Serve until the input ends or a signal comes."""
    # What a start makes stays: looking for garbage in it took a tenth of the start, and would slow every
    # later look.
    gc.disable()
    from synapse_mcp.settings import parse_arguments  # --help is for a person: it may still use stdout
    from synapse_mcp.wire import claim_wire, serve_stdio  # a command needs none

    settings = parse_arguments(arguments)
    # Claimed before the heavy imports: nothing that any of them prints can reach the client.
    wire = claim_wire() if settings.http is None else None
    from synapse_mcp.server import build_server  # one of them

    try:
        server = build_server(settings)
        gc.freeze()
        gc.enable()
        if wire is not None:
            return serve_stdio(server, wire)
        from synapse_mcp.http.serving import serve_http  # uvicorn, for who listens

        assert settings.http is not None, "else the wire was claimed"
        return serve_http(server, settings.http)
    except SynapseError as error:
        sys.stderr.write(f"synapse-mcp: {error.message} {error.hint or ''}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
