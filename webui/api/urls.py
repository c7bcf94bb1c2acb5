"""URLs of the API."""

from __future__ import annotations

from django.urls import URLPattern, path

from webui.api import views
from webui.api.api import api
from webui.api.problems import explained

_patterns, _app, _namespace = api.urls
for _pattern in _patterns:
    if isinstance(_pattern, URLPattern):
        _pattern.callback = explained(_pattern.callback)

urlpatterns = [
    path("docs", views.docs, name="api-docs"),
    path("openapi.json", views.schema, name="api-schema"),
    path("v1/", (_patterns, _app, _namespace)),
]
