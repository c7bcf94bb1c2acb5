"""Traces for OpenTelemetry, sent by OTLP over HTTP to OTEL_EXPORTER_OTLP_ENDPOINT.

A request is a span, and so are a job and each of its stages; a job continues the trace of the request that submitted
it. OpenTelemetry's other settings (OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER ...) work as documented. Without the
endpoint, OpenTelemetry is not imported.

A span names its view, not its URL, which may hold a token. OpenTelemetry's Django package would record the URL, the IP
address and the browser of each request; its hooks can overwrite these, but not leave them out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from core.errors import HarkError
from webui.http.middleware import Middleware, method_of, view_of
from webui.telemetry.logs import HEADER

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PACKAGES = "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http"
PARENT = "traceparent"  # the header and key of the W3C trace context


def wanted() -> bool:
    return any(os.environ.get(name) for name in ENDPOINTS)


@cache
def provider() -> TracerProvider:
    """Return the provider that sends the spans of this process. Raises HarkError if packages are missing."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise HarkError(
            "Traces cannot be sent.",
            f"{ENDPOINTS[0]} is set, and the package {error.name} is not installed.",
            f".venv/bin/python -m pip install {PACKAGES} -c constraints.txt, or remove the setting.",
        ) from error
    os.environ.setdefault("OTEL_SERVICE_NAME", "hark")
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class TraceRequests(Middleware):
    """Creates a span for each request, in the trace that the caller's ``traceparent`` names."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        super().__init__(get_response)
        self.tracer = provider().get_tracer(__name__)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        from opentelemetry.trace import SpanKind, Status, StatusCode

        method, parent = method_of(request), context_of(request.headers.get(PARENT, ""))
        with self.tracer.start_as_current_span(method, context=parent, kind=SpanKind.SERVER) as span:
            response = self.get_response(request)
            span.update_name(f"{method} {view_of(request)}")
            span.set_attributes(
                {
                    "http.request.method": method,
                    "http.response.status_code": response.status_code,
                    "hark.request_id": response.get(HEADER, ""),
                }
            )
            if response.status_code >= 500:
                span.set_status(Status(StatusCode.ERROR))
        return response


def current() -> str:
    """Return the current trace context, for a job to continue; "" without tracing."""
    if not wanted():
        return ""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get(PARENT, "")


def context_of(traceparent: str) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({PARENT: traceparent}, Context())
