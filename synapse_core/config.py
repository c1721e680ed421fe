"""A plugin's `config.yaml`: its models, and reading the file with every problem told at once.

How YAML is read safely is in `yaml_lines`; what an entrypoint stands for is in `discovery`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import ErrorDetails, PydanticCustomError

from synapse_core.enums import (
    AnnotationCategory,
    AnnotationType,
    DataType,
    PackageManager,
    PluginCategory,
    RunMethod,
    SmartToolType,
    default_method,
)
from synapse_core.errors import InvalidConfig, did_you_mean
from synapse_core.yaml_lines import MAX_BYTES, KeyPath, YamlDocument, read_yaml

CONFIG_NAME = "config.yaml"

# Further ones are more of the same, and each costs a search for the nearest valid word.
MAX_ISSUES = 50

# At and below these keys 1.10, 0755 and yes are the text that was written.
_TEXT_KEYS = ("name", "code", "version", "variant", "description", "env", "requires", "dependencies", "tags")

CODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
CODE_RULE = "1 to 63 lower case letters, digits, '_' and '-', beginning with a letter or digit"
_ENTRYPOINT = re.compile(r"([^\W\d]\w*(?:\.[^\W\d]\w*)*)[.:]([^\W\d]\w*)")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def _code(value: str) -> str:
    if CODE.fullmatch(value):
        return value
    near = near_code(value)
    raise PydanticCustomError(
        "code", f"it should be {CODE_RULE}", {"near": f" Did you mean {near}?" if near else ""}
    )


def near_code(text: str) -> str:
    """Return the code that a text comes closest to, '' where nothing of it can stay."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:63]


def _entrypoint(value: str) -> str:
    """Return 'module:Class' for either spelling of it."""
    if match := _ENTRYPOINT.fullmatch(value):
        return f"{match[1]}:{match[2]}"
    near = _ENTRYPOINT.fullmatch(value.replace(".py", "").replace("/", "."))
    raise PydanticCustomError(
        "entrypoint",
        "it should be 'module:Class' or 'module.Class'",
        {"near": f" Did you mean {near[1]}:{near[2]}?" if near else ""},
    )


def _env_text(value: Any) -> Any:
    """Return a scalar as a shell would hold it; pydantic refuses the rest."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | float) else value


def _bytes(value: Any) -> int:
    if type(value) is int and 2**20 <= value <= 2**50:
        return value
    # Fewer are a number of gigabytes by mistake.
    raise PydanticCustomError("bytes", "it should be a whole number of bytes, 1048576 (1 MiB) or more")


Words = list[str]
# The operating system holds a variable as 'name=value' up to a NUL.
EnvName = Annotated[str, Field(pattern=r"^[^=\x00]+$")]
EnvValue = Annotated[str, BeforeValidator(_env_text), Field(pattern=r"^[^\x00]*$")]


class _Section(BaseModel):
    """A mapping of `config.yaml`. A key without a value counts as absent; unknown keys are only warned of."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    @pydantic.model_validator(mode="before")
    @classmethod
    def _leave_out_nulls(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            return {key: value for key, value in data.items() if value is not None}
        return data


class Requires(_Section):
    """What the plugin needs to be there: version specifiers such as '>=11.8'."""

    sdk: str | None = None
    python: str | None = None
    cuda: str | None = None


class Resources(_Section):
    """What one run of an action occupies. num_cpus, num_gpus: fractions are allowed. memory: bytes."""

    num_cpus: float | None = Field(default=None, strict=True, ge=0, le=10_000)
    num_gpus: float | None = Field(default=None, strict=True, ge=0, le=10_000)
    memory: Annotated[int, BeforeValidator(_bytes)] | None = None


class ActionConfig(_Section):
    """One entry of `actions`.

    name: what people read; the entry's key where absent. method: `default_method(key)` where absent.
    entrypoint: 'module:Class'. input_type, output_type: names of `types`, or of the plugin's own.
    timeout_seconds: how long a run may take. strict_results: a result off its model fails the run.
    """

    name: str
    description: str = ""
    entrypoint: Annotated[str, AfterValidator(_entrypoint)] | None = None
    method: RunMethod = RunMethod.TASK
    input_type: str | None = None
    output_type: str | None = None
    resources: Resources = Resources()
    timeout_seconds: float | None = Field(default=None, strict=True, gt=0, allow_inf_nan=False)
    strict_results: bool = Field(default=False, strict=True)
    serve_options: dict[str, Any] = {}
    hyperparameters: dict[str, Any] = {}
    ui_schema: Any = None
    required_resources: dict[str, Any] = {}


class PluginConfig(_Section):
    """A whole `config.yaml`.

    env: None means "pass this variable on from whoever starts the run".
    tasks: 'data_type.task'. dependencies: plugin code to version specifier.
    """

    name: str
    code: Annotated[str, AfterValidator(_code)]
    version: str = "0.1.0"
    variant: str | None = None
    category: PluginCategory = PluginCategory.CUSTOM
    description: str = ""
    readme: str = "README.md"
    package_manager: PackageManager = PackageManager.PIP
    package_manager_options: Words = []
    wheels_dir: str = "wheels"
    env: dict[EnvName, EnvValue | None] = {}
    runtime_env: dict[str, Any] = {}
    data_type: DataType | None = None
    tasks: Words = []
    supported_data_types: list[DataType] = Field(
        default=[], validation_alias=AliasChoices("supported_data_types", "supported_data_type")
    )
    supported_annotation_tools: dict[AnnotationCategory, Words] = {}
    annotation_category: AnnotationCategory | None = None
    annotation_type: AnnotationType | None = None
    smart_tool: SmartToolType | None = None
    requires: Requires = Requires()
    dependencies: dict[str, str] = {}
    tags: Words = []
    actions: dict[str, ActionConfig] = {}

    @pydantic.field_validator("actions", mode="before")
    @classmethod
    def _fill_in_from_keys(cls, actions: Any) -> Any:
        """Give each entry its key as name, and the method that is usual for this key."""
        if not isinstance(actions, Mapping):
            return actions
        return {key: _filled_in(key, {} if entry is None else entry) for key, entry in actions.items()}


def _filled_in(key: str, entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return entry
    written = {name: value for name, value in entry.items() if value is not None}
    return {"name": key, "method": default_method(key)} | written


Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class ConfigIssue:
    """One thing to repair in a config.

    key: dotted, such as 'actions.train.method'; '' for the file as a whole. line: counted from 1.
    """

    severity: Severity
    message: str
    key: str
    file: Path
    line: int

    def __str__(self) -> str:
        where = f"{self.file.name}:{self.line} {self.key}".rstrip()
        return f"{where}: {'(warning) ' if self.severity == 'warning' else ''}{self.message}"


@dataclass(frozen=True)
class LoadedConfig:
    """A config that can be used. path: the config.yaml. issues: warnings, in the order of their lines."""

    config: PluginConfig
    path: Path
    issues: tuple[ConfigIssue, ...]


Finding = tuple[KeyPath, str]


def load_config(path: Path) -> LoadedConfig:
    """Read a plugin's config. path: the plugin's folder, or its config.yaml.

    Raises InvalidConfig with every problem where one of them is an error.
    """
    file, source = _read(path)
    document = read_yaml(source, as_text=_TEXT_KEYS)
    errors = [
        ConfigIssue("error", problem.message, _dotted(problem.path), file, problem.line)
        for problem in document.problems[:MAX_ISSUES]
    ]
    warnings = _issues("warning", _unknown_keys(document.data), file, document)
    try:
        config = PluginConfig.model_validate(document.data)
    except pydantic.ValidationError as error:
        # A value that YAML refused is absent from the data, and told already.
        told = {problem.path for problem in document.problems}
        findings = map(_finding, error.errors(include_url=False))
        errors += _issues("error", (found for found in findings if found[0] not in told), file, document)
        raise _invalid(file, errors + warnings) from error
    if errors:
        raise _invalid(file, errors + warnings)
    warnings += _issues("warning", _advice(config), file, document)
    return LoadedConfig(config, file, tuple(sorted(warnings, key=lambda issue: issue.line)))


def _issues(
    severity: Severity, findings: Iterable[Finding], file: Path, document: YamlDocument
) -> list[ConfigIssue]:
    return [
        ConfigIssue(severity, message, _dotted(key), file, document.line_of(key))
        for key, message in islice(findings, MAX_ISSUES)
    ]


def _read(path: Path) -> tuple[Path, bytes]:
    """Return the config file and its bytes, cut one byte after the size that is allowed."""
    try:
        file = path / CONFIG_NAME if path.is_dir() else path
        if not file.is_file():
            raise _absent(file)
        with file.open("rb") as stream:
            return file, stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(path, f"{path} cannot be read: {error.strerror}.") from error


def _absent(file: Path) -> InvalidConfig:
    if not file.parent.is_dir():
        return _unreadable(file, f"There is no file {file}, and no folder {file.parent} either.")
    names = sorted(entry.name for entry in file.parent.iterdir())
    held = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    near = did_you_mean(file.name, names)
    return _unreadable(file, f"There is no file {file}; its folder holds {held or 'nothing'}.{near}")


def _unreadable(file: Path, message: str) -> InvalidConfig:
    problem = _as_json(ConfigIssue("error", message, "", file, 1))
    return InvalidConfig(message, problems=[problem], hint=f"Give a plugin's folder, or its {CONFIG_NAME}.")


def _invalid(file: Path, issues: Sequence[ConfigIssue]) -> InvalidConfig:
    ordered = sorted(issues, key=lambda issue: issue.line)
    more = " or more" if len(ordered) >= MAX_ISSUES else ""
    count = f"{len(ordered)}{more} problem{'s' if len(ordered) > 1 else ''}"
    lines = "".join(f"\n- {issue}" for issue in ordered)
    return InvalidConfig(
        f"{file.name} has {count}:{lines}",
        problems=[_as_json(issue) for issue in ordered],
        hint=f"Correct {file}, then call again.",
    )


def _as_json(issue: ConfigIssue) -> dict[str, Any]:
    return asdict(issue) | {"file": str(issue.file)}


def _finding(error: ErrorDetails) -> Finding:
    """Return where pydantic found what, in words for whoever edits the file."""
    # "[key]": pydantic's mark for a mapping's key that is wrong itself.
    key = error["loc"][:-1] if error["loc"][-1:] == ("[key]",) else error["loc"]
    if error["type"] == "missing":
        return key, "this key is required and missing."
    if error["type"] == "enum":
        words = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        near = did_you_mean(str(error["input"]), words)
        return key, f"{_shown(error['input'])} is not one of {', '.join(words)}.{near}"
    wanted = _WANTED.get(error["type"]) or re.sub(r"^\w+ should", "it should", error["msg"])
    return key, f"{_shown(error['input'])} stands here; {wanted}.{error.get('ctx', {}).get('near', '')}"


_WANTED = {
    "string_type": "it should be a text (in quotes)",
    "string_pattern_mismatch": "a variable's name holds no '=', and neither it nor its value a NUL",
    "bool_type": "it should be true or false",
    "float_type": "it should be a number",
    "list_type": "it should be a list",
    "dict_type": "it should be a mapping",
    "model_type": "it should be a mapping",
}


def _unknown_keys(data: Any) -> Iterator[Finding]:
    for path, model, section in _sections(data):
        known = _keys_of(model)
        all_known = f" Known keys: {', '.join(model.model_fields)}."
        for key in section if isinstance(section, dict) else ():
            if key in known:
                continue
            near = did_you_mean(key, known)
            yield (*path, key), f"{_shown(key)} is not a known key and is ignored.{near or all_known}"
            all_known = all_known if near else ""  # once is enough


def _sections(data: Any) -> Iterator[tuple[KeyPath, type[_Section], Any]]:
    """Yield every part of a config that has fixed keys, as it was written."""
    if not isinstance(data, dict):
        return
    yield (), PluginConfig, data
    yield ("requires",), Requires, data.get("requires")
    actions = data.get("actions")
    for name, action in actions.items() if isinstance(actions, dict) else ():
        yield ("actions", name), ActionConfig, action
        if isinstance(action, dict):
            yield ("actions", name, "resources"), Resources, action.get("resources")


def _keys_of(model: type[_Section]) -> list[str]:
    keys = list(model.model_fields)
    for field in model.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            keys += [str(choice) for choice in field.validation_alias.choices if choice not in keys]
    return keys


def _advice(config: PluginConfig) -> Iterator[Finding]:
    """Yield what can be used and should be repaired all the same."""
    data_types = [data_type.value for data_type in DataType]
    if not _VERSION.fullmatch(config.version):
        yield ("version",), f"{_shown(config.version)} is not of the form X.Y.Z, such as 0.1.0."
    if config.category is PluginCategory.NEURAL_NET and config.data_type is None:
        yield ("data_type",), f"a neural_net plugin should name one of {', '.join(data_types)}."
    for index, task in enumerate(config.tasks):
        data_type, _, name = task.partition(".")
        if data_type not in data_types or not name:
            near = did_you_mean(data_type, data_types)
            wanted = f"'data_type.task' with a data type of {', '.join(data_types)}"
            yield ("tasks", index), f"{_shown(task)} is not of the form {wanted}.{near}"
    for key, action in config.actions.items():
        if action.entrypoint is None:
            yield ("actions", key), "has no entrypoint and cannot run; add entrypoint: 'module:Class'."


def _dotted(key: KeyPath) -> str:
    return ".".join(str(part) for part in key)


def _shown(value: Any) -> str:
    """Return a value as it could stand in YAML, cut to 60 characters."""
    if value is None:
        return "nothing"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
