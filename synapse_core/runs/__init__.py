"""Runs: durable records that outlive the call, the client and the server."""

from synapse_core.runs.action_entry import ActionEntry
from synapse_core.runs.answering import open_questions
from synapse_core.runs.follow import follow
from synapse_core.runs.run import Run
from synapse_core.runs.runs import Runs
from synapse_core.runs.standing import Failure, RunProgress

__all__ = ["Runs", "Run", "RunProgress", "ActionEntry", "Failure", "follow", "open_questions"]
