"""Executors carry the one worker body somewhere: into this process, a child process, a Ray actor."""

from synapse_core.executors.base import Executor, Liveness
from synapse_core.executors.local import LocalExecutor
from synapse_core.executors.process import ProcessExecutor

__all__ = ["Executor", "Liveness", "LocalExecutor", "ProcessExecutor"]
