"""Pipelines: actions that hand their results on, as one run with an entry for each."""

from synapse_core.pipelines.action_pipeline import ActionPipeline
from synapse_core.pipelines.context import PipelineContext
from synapse_core.pipelines.graph import PipelineAction
from synapse_core.pipelines.progress import ActionProgress, Checkpoint, PipelineProgress
from synapse_core.run_folder import RetryPolicy

__all__ = [
    "ActionPipeline",
    "PipelineAction",
    "RetryPolicy",
    "PipelineProgress",
    "ActionProgress",
    "Checkpoint",
    "PipelineContext",
]
