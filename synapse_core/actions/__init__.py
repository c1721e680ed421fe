"""Ready-made actions, to be used as they are or to be derived from."""

from synapse_core.actions.dataset import DatasetAction, DatasetOperation, DatasetParams, DatasetResult

__all__ = ["DatasetAction", "DatasetOperation", "DatasetParams", "DatasetResult"]
