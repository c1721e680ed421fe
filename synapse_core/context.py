"""What an action is given at run time: where to log, what environment it has, whether it is to stop."""

from __future__ import annotations

import itertools
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from synapse_core.enums import LogLevel
from synapse_core.environment import PluginEnvironment
from synapse_core.events import AnyEvent, Artifact
from synapse_core.loggers import BaseLogger
from synapse_core.questions import Asking, Elicited, Model
from synapse_core.stop import StopSignal

DEFAULT_LANGUAGE = "en"


@dataclass
class RuntimeContext:
    """The one object through which an action reports and reaches the outside.

    client: the backend, where there is one. checkpoint: `{category, path}` of the model to start from.
    """

    logger: BaseLogger
    env: PluginEnvironment = field(default_factory=PluginEnvironment)
    job_id: str | None = None
    client: Any = None
    agent_client: Any = None
    checkpoint: dict[str, Any] | None = None
    language: str | None = None
    stop: StopSignal = field(default_factory=StopSignal)
    run_folder: Path | None = None
    result_warnings: list[str] = field(default_factory=list)
    recorded_artifacts: set[Path] = field(default_factory=set)
    question_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), repr=False)

    def log(
        self,
        event: str,
        data: Mapping[str, Any],
        file: str | None = None,
        level: LogLevel = LogLevel.INFO,
    ) -> None:
        """Record a structured entry under a name of the action's own."""
        self.stop.raise_if_requested()
        self.logger.log(level, event, data, file)

    def set_progress(
        self, current: float, total: float, step: str | None = None, *, category: str | None = None
    ) -> None:
        """Record that `current` of `total` is done. Raises ValueError outside 0..total."""
        self.stop.raise_if_requested()
        self.logger.set_progress(current, total, step or category)

    def set_metrics(
        self, value: Mapping[str, Any], step: str | None = None, *, category: str | None = None
    ) -> None:
        """Merge metrics into a category."""
        self.stop.raise_if_requested()
        self.logger.set_metrics(value, step or category)

    def log_message(
        self,
        message: str | Mapping[str, str],
        level: LogLevel | str = LogLevel.INFO,
        *,
        context: LogLevel | str | None = None,
        language: str | None = None,
        step: str | None = None,
        **values: Any,
    ) -> None:
        """Tell the person who watches the run something.

        message: a text, or texts by language of which one is chosen: the call's `language`, else the
            context's, else SYNAPSE_LANGUAGE, else English.
        context: the former name of `level`.
        values: fill the `{names}` of the text; a name without a value leaves the text as it is.
        """
        self.stop.raise_if_requested()
        if context is not None:
            warnings.warn("context= of log_message is now level=.", DeprecationWarning, stacklevel=2)
        text = message if isinstance(message, str) else self._in_language(message, language)
        if values:
            # An unfilled template is still worth reading, whatever keeps it from being filled.
            with suppress(LookupError, ValueError, AttributeError, TypeError):
                text = text.format(**values)
        self.logger.message(text, LogLevel.parse(level if context is None else context), step)

    def elicit(self, message: str, answer: type[Model]) -> Elicited[Model]:
        """Ask the user to fill in a form, and wait for the answer, however long that takes.

        message: what is asked; the first 2,000 characters count.
        answer: a pydantic model of str, int, float and bool fields, and of choices of texts (Enum, Literal).
            What does not fit it is asked for again.
        The run's time limit goes on meanwhile, and a stop ends the wait. Never ask for a password or a key.
        Raises CannotAsk for another kind of field, and where the action is not executed as a recorded run.
        """
        self.stop.raise_if_requested()
        asking = Asking(
            self.run_folder, self.stop, self.emit, lambda: f"question-{next(self.question_numbers)}"
        )
        return asking.ask(message, answer)

    def log_metric(self, category: str, key: str, value: float, **metrics: Any) -> None:
        """Record one named value of a category, with others that belong to it."""
        self.log("metric", {"category": category, "key": key, "value": value, "metrics": metrics})
        self.set_metrics({key: value, **metrics}, category)

    def log_visualization(self, category: str, group: str, index: int, image: str, **meta: Any) -> None:
        """Record a picture: `image` is the path of its file."""
        self.log("visualization", {"category": category, "group": group, "index": index, **meta}, image)

    def log_dev_event(self, message: str, data: Mapping[str, Any] | None = None) -> None:
        """Record something that only a developer cares about."""
        self.log("dev_event", {"message": message, **(data or {})}, level=LogLevel.DEBUG)

    def end_log(self) -> None:
        """Tell that the run is complete."""
        self.log_message("Run complete.", LogLevel.SUCCESS)

    def raise_if_stopped(self) -> None:
        """Raise RunStopped where the run was asked to stop; call it in long loops that report nothing."""
        self.stop.raise_if_requested()

    @property
    def artifacts_dir(self) -> Path:
        """The folder for files that the run produces; a temporary one outside a recorded run."""
        if self.run_folder is None:
            self.run_folder = Path(tempfile.mkdtemp(prefix="synapse-run-"))
        folder = self.run_folder / "artifacts"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def pipeline_dir(self) -> Path | None:
        """The folder that all actions of the pipeline share; None where the action runs by itself."""
        named = self.env.get_str("SYNAPSE_PIPELINE_DIR")
        return Path(named) if named else None

    def add_artifact(self, path: str | Path, name: str | None = None) -> None:
        """Record a file as a product of the run. Raises FileNotFoundError where there is none."""
        file = Path(path)
        if not file.is_absolute():
            file = self.artifacts_dir / file
        size = file.stat().st_size
        self.recorded_artifacts.add(file)
        uri = str(file)
        if self.run_folder is not None and file.is_relative_to(self.run_folder):
            uri = file.relative_to(self.run_folder).as_posix()
        self.emit(Artifact(name=name or file.name, uri=uri, size_bytes=size))

    def emit(self, event: AnyEvent) -> None:
        """Record an event of the engine's own kinds (steps, artifacts)."""
        self.logger.emit(event)

    def _in_language(self, texts: Mapping[str, str], language: str | None) -> str:
        for choice in (language, self.language, os.environ.get("SYNAPSE_LANGUAGE"), DEFAULT_LANGUAGE):
            if choice and choice in texts:
                return texts[choice]
        return next(iter(texts.values()), "")
