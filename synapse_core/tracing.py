"""Spans of a run and its steps, for who asked for OpenTelemetry; nothing of it is imported otherwise.

A run that belongs to a trace has its `traceparent` in its request; where to send spans to, the worker knows
by the variables of OpenTelemetry, which come from the submitter.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from synapse_core.errors import InvalidConfig
from synapse_core.events import AnyEvent, Failed, StepFinished, StepStarted, Stopped, Succeeded
from synapse_core.run_folder import RunRequest

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

# A collector that is down must not hold up the end of a run, or of a server.
EXPORT_SECONDS = 2
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"
# What says where spans go; a run inherits it only where it is part of a trace.
_VARIABLES = (
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    *("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
    *("OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_RESOURCE_ATTRIBUTES"),
)


def require_exporter() -> None:
    """Raise InvalidConfig, which says what to install, where spans cannot be sent."""
    try:
        found = importlib.util.find_spec(_EXPORTER)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise InvalidConfig(
            "OpenTelemetry was asked for, and its packages are not installed.",
            hint="pip install 'synapse-mcp[otel]'",
        )


def open_provider(service: str) -> TracerProvider:
    """Return what makes spans and sends them over HTTP, to where OTEL_EXPORTER_OTLP_ENDPOINT says.

    Raises InvalidConfig.
    """
    require_exporter()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # asked for only
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=EXPORT_SECONDS)))
    return provider


def traced(request: RunRequest, traceparent: str) -> RunRequest:
    """Return a request that belongs to a trace, with its entries of a pipeline."""
    from msgspec.structs import replace  # nothing but this needs it

    entries = tuple(replace(entry, request=traced(entry.request, traceparent)) for entry in request.pipeline)
    names = tuple(dict.fromkeys((*request.passed_names, *_VARIABLES)))
    return replace(request, traceparent=traceparent, passed_names=names, pipeline=entries)


class RunTrace:
    """The spans of one run: it is told every event, and makes a span of the run and one of each step."""

    def __init__(self, tracer: Tracer, run: Span) -> None:
        self._tracer = tracer
        self._run = run
        self._steps: dict[str, Span] = {}

    def see(self, event: AnyEvent) -> None:
        from opentelemetry.trace import StatusCode, set_span_in_context  # asked for only

        if isinstance(event, StepStarted):
            around = set_span_in_context(self._run)
            self._steps[event.step] = self._tracer.start_span(
                f"step {event.step}",
                context=around,
                attributes={"synapse.step": event.step, "synapse.step.index": event.index},
            )
        elif isinstance(event, StepFinished) and (step := self._steps.pop(event.step, None)) is not None:
            step.set_attribute("synapse.step.skipped", event.skipped)
            if not event.success and not event.skipped:
                step.set_status(StatusCode.ERROR)
            step.end()
        elif isinstance(event, Failed | Stopped | Succeeded):
            self._run.set_attribute("synapse.run.state", type(event).__name__.lower())
            if isinstance(event, Failed):
                # The code only: the message may hold anything.
                self._run.set_attribute("error.type", event.code)
                self._run.set_status(StatusCode.ERROR)


@contextmanager
def run_trace(request: RunRequest) -> Iterator[RunTrace | None]:
    """Yield what makes the spans of a run, None where it belongs to no trace; send them when it is over.

    Where the package is not installed for the worker the run goes on without.
    """
    try:
        provider = None if request.traceparent is None else open_provider("synapse-run")
    except InvalidConfig:
        provider = None
    if provider is None:
        yield None
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # asked for only

    around = TraceContextTextMapPropagator().extract({"traceparent": request.traceparent or ""})
    tracer = provider.get_tracer("synapse")
    attributes: dict[str, Any] = {
        "synapse.run_id": request.run_id,
        "synapse.plugin": request.plugin,
        "synapse.action": request.actions[0].name,
        "synapse.mode": request.mode,
    }
    name = f"run {request.plugin}/{request.actions[0].name}"
    try:
        with tracer.start_as_current_span(name, context=around, attributes=attributes) as span:
            yield RunTrace(tracer, span)
    finally:
        provider.force_flush(EXPORT_SECONDS * 1000)
        provider.shutdown()
