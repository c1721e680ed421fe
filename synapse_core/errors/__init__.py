"""Every exception that Synapse raises, each with a stable `code` and, where one is known, a `hint`.

    SynapseError                         error
    ├── PluginError                      plugin_error
    │   ├── ValidationError              invalid_params       every problem at once, see `problems`
    │   ├── InvalidConfig                invalid_config       names the file, the line and the key
    │   ├── PluginLoadError              plugin_load_failed   the plugin's own code does not import
    │   │   └── MissingDependency        missing_dependency   a package that the plugin needs is absent
    │   ├── SchemaIncompatibleError      incompatible_types   one action of a pipeline does not fit the next
    │   ├── ArchiveError                 archive_error        it cannot be packed, or must not be unpacked
    │   │   └── SecretInPlugin           secret_in_plugin     files with keys in them are not published
    │   └── ExecutionError               execution_failed     the action ran and failed
    │       ├── StepFailed               step_failed          also a RuntimeError
    │       ├── ActionFailed             (the cause's code)   an action of a pipeline; also a RuntimeError
    │       ├── DeploymentFailed         deployment_failed    a version did not start, or did not answer
    │       ├── ModelLoadError           model_load_failed    a deployment could make nothing of its files
    │       ├── InferenceFailed          inference_failed     a deployment's code failed at a request
    │       ├── CannotAsk                cannot_ask           a question that is no flat form, or to nobody
    │       ├── UnsafeMetadata           unsafe_metadata      a table too large, or made to do harm
    │       ├── InvalidMetadata          invalid_metadata     a table that cannot be read as one
    │       └── InvalidResult            invalid_result       not JSON, too large, or (strict) off its model
    ├── NotFound                         not_found            carries the nearest valid names
    │   ├── PluginNotFound               unknown_plugin
    │   ├── ActionNotFoundError          unknown_action       also a PluginError
    │   ├── RunNotFound                  unknown_run
    │   ├── DeploymentNotFound           unknown_deployment
    │   └── UnknownFormat                unknown_format       of a dataset
    │       └── UnknownConversion        unknown_conversion   no converter between two; also a ValueError
    ├── InvalidRequest                   invalid_request      the call itself cannot be carried out as asked
    │   └── InputsRejected               inputs_rejected      a deployment does not take what it was sent
    ├── InvalidModelToken                invalid_token        forged, expired, or for another deployment
    ├── Conflict                         conflict             the same key stands for something else
    ├── DatasetError                     dataset_error
    │   ├── UnrecognisedDataset          unrecognised_dataset what stands there fits no format
    │   ├── AmbiguousDataset             ambiguous_dataset    it fits several, or can be read in several ways
    │   ├── InvalidDataset               invalid_dataset      it cannot be read as its format
    │   └── LossyConversion              lossy_conversion     strict: something would be lost; not written
    ├── BackendError                     backend_error        a call that the backend did not carry out
    │   ├── RecordNotFound               unknown_record       no record has this id; also a NotFound
    │   ├── BackendRejected              rejected             values or filters that it cannot take
    │   ├── BackendConflict              backend_conflict     it holds something else already; also a Conflict
    │   ├── BackendUnauthorized          unauthorized         the token is missing, wrong or may not do this
    │   ├── InvalidAnswer                invalid_answer       what came back is no answer of a backend
    │   └── BackendUnavailable           backend_unavailable  down, slow or failing; also an Unavailable
    │       └── RateLimited              rate_limited         too many calls at once
    ├── StorageError                     storage_error        something is the matter with a storage
    │   ├── StorageConfigError           invalid_storage      names the setting and what is allowed
    │   ├── ProviderNotFound             unknown_provider     also a NotFound
    │   ├── InvalidStorageName           invalid_storage_name it is no name, or leads out of the storage
    │   ├── StorageNotFound              storage_not_found    nothing is stored there; also a NotFound
    │   ├── StoragePermissionError       storage_permission   the storage refuses this user
    │   ├── StorageConnectionError       storage_unavailable  it does not answer; also an Unavailable
    │   ├── UploadError                  upload_failed        nothing, or nothing whole, was stored
    │   └── CapabilityError              storage_capability   its provider cannot do that
    ├── RunFailed                        (the run's own code) a run ended in any state but succeeded
    ├── RunStopped*                      stopped              * a BaseException: `except Exception` misses it
    └── Unavailable                      unavailable          a service is down, retrying later can help
        ├── RayUnavailable               ray_unavailable
        ├── DeploymentUnavailable        deployment_unavailable  it is starting, or gone
        ├── NoBackend                    no_backend           the run was given none; also a RuntimeError
        └── DiskFull                     disk_full            nothing more can be recorded in the home

Two places translate this tree and nobody else does: the worker (exception to terminal event) and the MCP
boundary (SynapseError to tool error).
"""

from synapse_core.errors.backends import (
    BackendConflict,
    BackendError,
    BackendRejected,
    BackendUnauthorized,
    BackendUnavailable,
    InvalidAnswer,
    NoBackend,
    RateLimited,
    RecordNotFound,
)
from synapse_core.errors.base import (
    Conflict,
    InvalidRequest,
    NotFound,
    SynapseError,
    Unavailable,
    did_you_mean,
    nearest,
)
from synapse_core.errors.datasets import (
    AmbiguousDataset,
    DatasetError,
    InvalidDataset,
    LossyConversion,
    UnknownConversion,
    UnknownFormat,
    UnrecognisedDataset,
)
from synapse_core.errors.deployments import (
    DeploymentFailed,
    DeploymentNotFound,
    DeploymentUnavailable,
    InferenceFailed,
    InputsRejected,
    InvalidModelToken,
    ModelLoadError,
)
from synapse_core.errors.plugins import (
    ActionFailed,
    ActionNotFoundError,
    ArchiveError,
    CannotAsk,
    ExecutionError,
    InvalidConfig,
    InvalidMetadata,
    InvalidResult,
    MissingDependency,
    PluginError,
    PluginLoadError,
    PluginNotFound,
    SchemaIncompatibleError,
    SecretInPlugin,
    StepFailed,
    UnsafeMetadata,
    ValidationError,
)
from synapse_core.errors.runs import DiskFull, RayUnavailable, RunFailed, RunNotFound, RunStopped
from synapse_core.errors.storages import (
    CapabilityError,
    InvalidStorageName,
    ProviderNotFound,
    StorageConfigError,
    StorageConnectionError,
    StorageError,
    StorageNotFound,
    StoragePermissionError,
    UploadError,
)

__all__ = [
    "nearest",
    "did_you_mean",
    "SynapseError",
    "NotFound",
    "InvalidRequest",
    "Conflict",
    "Unavailable",
    "PluginError",
    "ValidationError",
    "InvalidConfig",
    "PluginLoadError",
    "MissingDependency",
    "SchemaIncompatibleError",
    "ArchiveError",
    "SecretInPlugin",
    "ExecutionError",
    "StepFailed",
    "ActionFailed",
    "CannotAsk",
    "InvalidResult",
    "UnsafeMetadata",
    "InvalidMetadata",
    "PluginNotFound",
    "ActionNotFoundError",
    "RunNotFound",
    "RunFailed",
    "RunStopped",
    "RayUnavailable",
    "DiskFull",
    "UnknownFormat",
    "UnknownConversion",
    "DatasetError",
    "UnrecognisedDataset",
    "AmbiguousDataset",
    "InvalidDataset",
    "LossyConversion",
    "StorageError",
    "StorageConfigError",
    "ProviderNotFound",
    "InvalidStorageName",
    "StorageNotFound",
    "StoragePermissionError",
    "UploadError",
    "CapabilityError",
    "StorageConnectionError",
    "NoBackend",
    "BackendError",
    "RecordNotFound",
    "BackendRejected",
    "BackendConflict",
    "BackendUnauthorized",
    "InvalidAnswer",
    "BackendUnavailable",
    "RateLimited",
    "DeploymentNotFound",
    "DeploymentFailed",
    "InferenceFailed",
    "InputsRejected",
    "InvalidModelToken",
    "ModelLoadError",
    "DeploymentUnavailable",
]
