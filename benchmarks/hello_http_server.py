"""The smallest HTTP server on the same SDK: what the load figures of Synapse's own are compared with."""

from __future__ import annotations

import sys

from benchmarks.hello_server import server

if __name__ == "__main__":
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]), stateless_http=True)
