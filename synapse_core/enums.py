"""The closed sets of words that plugins, runs and records use."""

from __future__ import annotations

from enum import Enum, StrEnum


class PluginCategory(StrEnum):
    """What a plugin is for."""

    NEURAL_NET = "neural_net"
    EXPORT = "export"
    UPLOAD = "upload"
    SMART_TOOL = "smart_tool"
    POST_ANNOTATION = "post_annotation"
    PRE_ANNOTATION = "pre_annotation"
    DATA_VALIDATION = "data_validation"
    CUSTOM = "custom"


class RunMethod(StrEnum):
    """How `config.yaml` asks for an action to be run."""

    LOCAL = "local"
    TASK = "task"
    JOB = "job"
    SERVE = "serve"
    RESTAPI = "restapi"


class ExecutionMode(StrEnum):
    """Where a run is executed: a child process, a Ray actor, or a Ray job."""

    LOCAL = "local"
    TASK = "task"
    JOB = "job"


class RunState(StrEnum):
    """Where a run stands. `lost`: nobody can know how it ended."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    LOST = "lost"

    @property
    def is_terminal(self) -> bool:
        """True where no further event can follow."""
        return self not in (RunState.QUEUED, RunState.RUNNING)


class ActionState(StrEnum):
    """Where an action of a pipeline stands. `skipped`: the result of an earlier run was taken over."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"
    LOST = "lost"

    @property
    def is_done_well(self) -> bool:
        """True where what depends on the action can begin."""
        return self in (ActionState.SUCCEEDED, ActionState.SKIPPED)


class _StatusWord(StrEnum):
    """A word that equals its text in any case of letters."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.value == other.lower()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self.value)


class RunStatus(_StatusWord):
    """Where a pipeline stands, in the words of its progress records."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class ActionStatus(_StatusWord):
    """Where an action of a pipeline stands, in the words of its progress records."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    SKIPPED = "skipped"


class PackageManager(StrEnum):
    """What installs a plugin's requirements."""

    PIP = "pip"
    UV = "uv"


class MetricsCategory(StrEnum):
    """The usual categories of metrics; any other text is a category as well."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


class DataType(StrEnum):
    """What kind of data a plugin works on, as `config.yaml` names it."""

    IMAGE = "image"
    TEXT = "text"
    VIDEO = "video"
    PCD = "pcd"
    AUDIO = "audio"
    DATA = "data"


class AnnotationCategory(StrEnum):
    """What kind of data an annotation tool works on."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"
    PCD = "pcd"
    PROMPT = "prompt"
    TIME_SERIES = "time_series"


class AnnotationType(StrEnum):
    """What a smart tool draws."""

    BBOX = "bbox"
    POLYGON = "polygon"
    POINT = "point"
    LINE = "line"
    MASK = "mask"
    LABEL = "label"


class SmartToolType(StrEnum):
    """How much a smart tool does by itself."""

    INTERACTIVE = "interactive"
    AUTOMATIC = "automatic"
    SEMI_AUTOMATIC = "semi_automatic"


class LogLevel(Enum):
    """How loud a log entry is; the members order from the quietest to the loudest."""

    DEBUG = "debug"
    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    DANGER = "danger"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The place in the order above, from 0."""
        return _LEVEL_RANKS[self]

    @classmethod
    def parse(cls, value: LogLevel | str) -> LogLevel:
        """Return the level of this name, in any case of letters.

        Raises ValueError naming the levels there are.
        """
        if isinstance(value, cls):
            return value
        try:
            return cls(str(value).lower())
        except ValueError:
            raise ValueError(
                f"There is no log level {value!r}; the levels are {', '.join(level.value for level in cls)}."
            ) from None


_LEVEL_RANKS = {level: rank for rank, level in enumerate(LogLevel)}

_METHOD_BY_ACTION = {
    **dict.fromkeys(
        ("upload", "export", "download", "convert", "train", "test", "deployment", "to_task"), RunMethod.JOB
    ),
    "inference": RunMethod.SERVE,
    "auto_label": RunMethod.TASK,
}


def default_method(action: str) -> RunMethod:
    """Return how an action of this name is run where its config does not say."""
    return _METHOD_BY_ACTION.get(action, RunMethod.TASK)
