"""Runs: durable records that outlive the call, the client and the server."""

from synapse_core.runs.follow import follow
from synapse_core.runs.run import Failure, Run, RunProgress
from synapse_core.runs.runs import Runs

__all__ = ["Runs", "Run", "RunProgress", "Failure", "follow"]
