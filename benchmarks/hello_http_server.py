"""The smallest HTTP server on the same SDK: what the load figures of Synapse's own are compared with."""

from __future__ import annotations

import sys

import uvicorn

from benchmarks.hello_server import server

if __name__ == "__main__":
    uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), access_log=False)
