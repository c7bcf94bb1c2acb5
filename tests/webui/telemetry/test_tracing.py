"""Traces: spans of requests and jobs at a collector, and nothing without the setting."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client

from core.errors import HarkError
from tests.support.http_server import Reply, serving
from tests.support.portal_jobs import Child, child
from tests.support.programs import run_python
from webui.accounts.models import User
from webui.jobs import supervise
from webui.jobs.models import Job
from webui.telemetry import tracing

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["child"]  # a fixture


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[list[Any]]:
    """The spans that it receives, after ``tracing.provider().force_flush()``."""
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    spans: list[Any] = []

    def answer(path: str, headers: dict[str, str], body: bytes) -> Reply:
        assert path == "/v1/traces"
        sent = service.ExportTraceServiceRequest.FromString(body)
        for resource in sent.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            assert names["service.name"] == "hark"
            spans.extend(span for scope in resource.scope_spans for span in scope.spans)
        return 200, {}, b""

    with serving(answer) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_SERVICE_NAME", "hark")
        settings.MIDDLEWARE = ["webui.telemetry.tracing.TraceRequests", *settings.MIDDLEWARE]
        tracing.provider.cache_clear()
        yield spans
        tracing.provider().shutdown()
        tracing.provider.cache_clear()


def told(span: Any) -> dict[str, Any]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_the_trace_of_a_request_continues_in_its_job(others: Client, collector: list[Any], child: Child) -> None:
    trace, caller = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    others.post("/account/export", headers={"traceparent": f"00-{trace}-{caller}-01", "X-Request-ID": "mine"})
    job = Job.objects.get()
    stages = "".join(f"say('stage', time=time.time(), name='{name}', message='')\n" for name in ("databases", "files"))
    child(stages + "say('result', result={})")
    supervise.run(str(job.pk))
    tracing.provider().force_flush()
    spans = {span.name: span for span in collector}
    assert {span.trace_id.hex() for span in collector} == {trace}
    request, worked = spans["POST accounts:export"], spans["job export"]
    assert request.parent_span_id.hex() == caller and worked.parent_span_id == request.span_id
    assert told(request) == {
        "http.request.method": "POST", "http.response.status_code": 302, "hark.request_id": "mine"
    }  # fmt: skip
    assert told(worked)["hark.job.id"] == str(job.pk) and told(worked)["hark.job.state"] == "done"
    for name in ("stage databases", "stage files"):
        assert spans[name].parent_span_id == worked.span_id
        assert spans[name].start_time_unix_nano <= spans[name].end_time_unix_nano


def test_the_span_of_a_failed_job_has_status_error(other: User, collector: list[Any], child: Child) -> None:
    job = Job.objects.create(user=other, kind="plan", queue="general", spec={}, sent_at="2026-01-01T00:00:00Z")
    child("say('error', what='A.', why='B.', what_to_do='C.')\nsys.exit(2)")
    supervise.run(str(job.pk))
    (span,) = [each for each in collector if each.name == "job plan"]
    assert span.status.code == 2 and told(span)["hark.job.state"] == "failed" and not span.parent_span_id


def test_spans_contain_no_url(client: Client, collector: list[Any]) -> None:
    for address in ("/account/setup/a-secret-link", "/no/such/a-secret-link"):
        client.get(address, headers={"traceparent": "a-secret-link"})
    tracing.provider().force_flush()
    assert [span.name for span in collector] == ["GET accounts:setup", "GET none"]
    assert b"a-secret-link" not in b"".join(span.SerializeToString() for span in collector)


def test_missing_packages_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    tracing.provider.cache_clear()
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(HarkError, match="Traces cannot be sent") as caught:
        tracing.provider()
    assert "pip install opentelemetry-sdk" in caught.value.what_to_do
    tracing.provider.cache_clear()


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:9"])
def test_opentelemetry_is_imported_only_if_enabled(endpoint: str) -> None:
    pytest.importorskip("opentelemetry.sdk")
    program = """
import sys, django
django.setup()
from django.core.handlers.wsgi import WSGIHandler
WSGIHandler()
import webui.jobs.supervise
print("webui.telemetry.tracing.TraceRequests" in django.conf.settings.MIDDLEWARE, "opentelemetry" in sys.modules)
"""
    done = run_python(program, DJANGO_SETTINGS_MODULE="webui.settings", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
    assert done.stdout.split() == 2 * [str(bool(endpoint))], done.stderr
