"""OpenTelemetry of the server: the SDK's spans are sent, and a run becomes a part of its call's trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synapse_core.run_folder import RunRequest
from synapse_core.tracing import EXPORT_SECONDS, open_provider, traced

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider


class Tracing:
    """Sends the spans of one process. The MCP library makes one of each request, below the client's own."""

    def __init__(self) -> None:
        from opentelemetry import trace  # only where it is asked for

        self._provider: TracerProvider = open_provider("synapse-mcp")
        trace.set_tracer_provider(self._provider)

    def traced(self, request: RunRequest) -> RunRequest:
        """Return a request for a run that belongs to the trace of the present call."""
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # see above

        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        return traced(request, carrier["traceparent"]) if carrier else request

    def close(self) -> None:
        """Send what has not been sent yet, for a moment only."""
        self._provider.force_flush(EXPORT_SECONDS * 500)
        self._provider.shutdown()
