"""The Synapse platform as an action sees it: projects, tasks, annotations, files, models, releases, jobs.

`Backend` is what actions need. `LocalBackend` is embedded and the default, `HttpBackend` speaks to a service;
`python -m synapse_core.backend.service` is one. All three keep the same contract.
"""

from synapse_core.backend.protocol import Backend, Listing
from synapse_core.backend.records import (
    Assignment,
    DataCollection,
    DataFile,
    DataUnit,
    FileReference,
    FileSpecification,
    GroundTruth,
    GroundTruthVersion,
    Job,
    JobLog,
    Model,
    NewDataUnit,
    NewTask,
    PluginRelease,
    Project,
    Record,
    ServeApplication,
    StorageRecord,
    Task,
)

__all__ = [
    "Backend",
    "Listing",
    "Assignment",
    "DataCollection",
    "DataFile",
    "DataUnit",
    "FileReference",
    "FileSpecification",
    "GroundTruth",
    "GroundTruthVersion",
    "Job",
    "JobLog",
    "Model",
    "NewDataUnit",
    "NewTask",
    "PluginRelease",
    "Project",
    "Record",
    "ServeApplication",
    "StorageRecord",
    "Task",
]
