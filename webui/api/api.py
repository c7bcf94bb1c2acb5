"""Version 1 of the API."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.constants import NOT_SET
from ninja.openapi.schema import OpenAPISchema
from ninja.operation import Operation
from ninja.parser import Parser

from core.confinement.untrusted_json import untrusted_json
from webui.api import problems
from webui.api.documentation import complete
from webui.api.endpoints import only_known, sent_names
from webui.api.routes import (
    detectors,
    inbox,
    jobs,
    library,
    organizations,
    phrases,
    recordings,
    tokens,
    users,
    webhooks,
)

ABOUT = """Everything that the pages do, for programs: from a phrase to a detector, and what it detects.

Send a token as `Authorization: Bearer TOKEN`. Create one on your account page or with `./hark admin token`. A session
cookie works too; requests that change something then need the header `X-CSRFToken`. Errors are problem details (RFC
9457) that say what happened, why, and what to do. The maximum size is 2.5 MB for JSON, 200 MB for a form with a file,
and 1 GB for a form with a recording to transcribe. Lists take `limit` and `offset`. A creation with the header
`Idempotency-Key` can be sent again within a day, and is made once."""


class UntrustedJson(Parser):
    """Ninja's parser, extended to reject JSON that is nested too deeply or contains infinite numbers."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """Parse the body. Raises ValueError as :func:`core.confinement.untrusted_json.untrusted_json` does."""
        return cast(dict[str, Any], untrusted_json(request.body))


class PortalApi(NinjaAPI):
    """Ninja's API, with an example for everything in its schema."""

    def get_openapi_schema(self, *, path_prefix: str | None = None, path_params: Any = NOT_SET) -> OpenAPISchema:
        return complete(super().get_openapi_schema(path_prefix=path_prefix))

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return f"{operation.view_func.__module__.rpartition('.')[2]}_{operation.view_func.__name__}"


api = PortalApi(
    title="Hark",
    version="1",
    description=ABOUT,
    urls_namespace="api-1",
    parser=UntrustedJson(),
    openapi_url=None,
    docs_url=None,
)
problems.install(api)
for subject in (phrases, jobs, detectors, inbox, library, recordings, organizations, tokens, webhooks, users):
    api.add_router("", subject.router)


def _refuse_others(operation: Operation) -> None:
    """Make an operation reject parameters that it does not have, because they would have no effect."""
    names: dict[str, list[str]] = {}
    for model in operation.models:
        flat = getattr(model, "__ninja_flatten_map__", model.model_fields)
        names.setdefault(model.__ninja_param_source__, []).extend(flat)
    values_of = operation._get_values

    def checked(request: HttpRequest, path: Any, response: HttpResponse) -> dict[str, Any]:
        only_known(request.GET, names.get("query", ()))
        if "body" not in names:
            only_known(sent_names(request), [*names.get("form", ()), *names.get("file", ())])
        return values_of(request, path, response)

    operation._get_values = checked  # type: ignore[method-assign,assignment]


for router in api._get_bound_routers():
    for path_view in router.path_operations.values():
        for each in path_view.operations:
            _refuse_others(each)
