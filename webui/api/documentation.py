"""The schema of the API with examples everywhere, and what its page shows of it."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from ninja.openapi.schema import OpenAPISchema

from webui.api.schemas import JOB_ID, Problem

METHODS = ("get", "post", "patch", "put", "delete")
LIMITS = {"multipart/form-data": "200 MB", "application/json": "2.5 MB"}
FILES = {"audio": "recording.wav"}  # what a curl line sends
NAMES = {"name": "model.onnx"}  # of parts of addresses
SESSION = {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "Of a browser that is signed in."}


def file_of(kind: str) -> dict[str, Any]:
    """For a route that answers with a file: what its documentation says."""
    return {"responses": {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}}


def example_of(schema: dict[str, Any], known: dict[str, Any]) -> Any:
    """An example that fits a schema, made of the examples of its parts; ``known`` are the named schemas."""
    if "example" in schema:
        return schema["example"]
    if schema.get("examples"):
        return schema["examples"][0]
    if "$ref" in schema:
        return example_of(known[schema["$ref"].rsplit("/", 1)[-1]], known)
    for group in ("anyOf", "oneOf", "allOf"):
        if group in schema:
            real = [part for part in schema[group] if part.get("type") != "null"]
            return example_of(real[0], known)
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if "properties" in schema:
        return {name: example_of(part, known) for name, part in schema["properties"].items()}
    if schema.get("type") == "array":
        return [example_of(schema["items"], known)]
    if schema.get("format") == "uuid":
        return JOB_ID
    return {"integer": 1, "number": 0.5, "boolean": True, "object": {}}.get(str(schema.get("type")), "text")


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """(path, method, operation) of all."""
    return [
        (path, method, methods[method])
        for path, methods in schema["paths"].items()
        for method in METHODS
        if method in methods
    ]


def complete(schema: OpenAPISchema) -> OpenAPISchema:
    """Add to each operation its examples, a line for curl, who may call it, and what its errors look like."""
    components = schema["components"]
    known = components["schemas"]
    described = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    known.update(described.pop("$defs", {}))
    known["Problem"] = described
    components.setdefault("securitySchemes", {})["Session"] = SESSION
    failure = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    failure["application/problem+json"]["example"] = example_of(described, known)
    for path, method, operation in operations(schema):
        if operation.get("security"):
            operation["security"] = [{"Token": []}, {"Session": []}]
        for parameter in operation["parameters"]:
            if "example" not in parameter:
                named = NAMES.get(parameter["name"]) if parameter["in"] == "path" else None
                parameter["example"] = named or example_of(parameter["schema"], known)
            parameter.pop("examples", None)  # in OpenAPI a parameter's are objects, not a list
        for content in operation.get("requestBody", {}).get("content", {}).values():
            content["example"] = _sent_example(content["schema"], known)
        for status, response in operation["responses"].items():
            for kind, content in response.get("content", {}).items():
                if kind == "application/json" and str(status) != "default":
                    content["example"] = example_of(content["schema"], known)
        operation["responses"]["default"] = {"description": "What went wrong", "content": failure}
        operation["x-codeSamples"] = [{"lang": "Shell", "label": "curl", "source": curl(path, method, operation)}]
    return schema


def _sent_example(schema: dict[str, Any], known: dict[str, Any]) -> Any:
    """Without what has a default and need not be sent, unless the schema has an example of its own."""
    example = example_of(schema, known)
    found = known[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema
    if "example" in found or not isinstance(example, dict):
        return example
    required = found.get("required", [])
    return {name: value for name, value in example.items() if name in required} or example


def curl(path: str, method: str, operation: dict[str, Any]) -> str:
    """A line for the shell that calls an operation with its examples."""
    asked = {}
    for parameter in operation["parameters"]:
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", str(parameter["example"]))
        elif parameter["in"] == "query" and parameter["required"]:
            asked[parameter["name"]] = parameter["example"]
    query = f"?{urlencode(asked)}" if asked else ""
    words = ["curl", "--fail-with-body"]
    if method != "get" and not (method == "post" and operation.get("requestBody")):
        words += ["-X", method.upper()]
    line = shlex.join(words) + f' "$HARK_SERVER{path}{query}"'
    if operation.get("security"):
        line += ' -H "Authorization: Bearer $HARK_TOKEN"'
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        if kind == "application/json":
            line += " --json " + shlex.quote(json.dumps(content["example"]))
        else:
            for name, value in content["example"].items():
                line += " -F " + shlex.quote(f"{name}=@{FILES[name]}" if name in FILES else f"{name}={value}")
    if any("audio/" in kind or "octet" in kind or "zip" in kind for kind in _kinds(operation)):
        line += " -o FILE"
    return line


def _kinds(operation: dict[str, Any]) -> list[str]:
    return [
        kind
        for status, response in operation["responses"].items()
        if str(status) != "default"
        for kind in response.get("content", {})
    ]


def marked(text: str) -> SafeString:
    """What stands between backticks as code."""
    pieces = re.split(r"``?([^`]+)``?", text)
    return mark_safe(  # every piece is escaped
        "".join(format_html("<code>{}</code>" if place % 2 else "{}", piece) for place, piece in enumerate(pieces))
    )


@dataclass
class Shown:
    """An operation as the page shows it."""

    anchor: str
    method: str
    path: str
    summary: str
    description: SafeString
    scopes: list[str]
    open: bool
    parameters: list[dict[str, Any]] = field(default_factory=list)
    sent_limit: str = ""
    status: str = ""
    answer: str = ""
    answer_kind: str = ""
    curl: str = ""


def shown(schema: dict[str, Any]) -> list[tuple[str, list[Shown]]]:
    """The operations by subject, ready to be read."""
    known = schema["components"]["schemas"]
    groups: dict[str, list[Shown]] = {}
    for path, method, operation in operations(schema):
        row = Shown(
            anchor=operation["operationId"],
            method=method.upper(),
            path=path,
            summary=operation["summary"],
            description=marked(operation.get("description", "")),
            scopes=operation.get("x-scopes", []),
            open="security" not in operation,
            curl=operation["x-codeSamples"][0]["source"],
        )
        for one in operation["parameters"]:
            row.parameters.append(_parameter(one["name"], one["in"], one["schema"], one["required"], one))
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            row.sent_limit = operation.get("x-limit") or LIMITS[kind]
            body = content["schema"]
            found = known[body["$ref"].rsplit("/", 1)[-1]] if "$ref" in body else body
            for name, part in found.get("properties", {}).items():
                row.parameters.append(_parameter(name, "body", part, name in found.get("required", []), part))
        for status, response in operation["responses"].items():
            if str(status) == "default":
                continue
            row.status = str(status)
            for kind, content in response.get("content", {}).items():
                row.answer_kind = kind
                if "example" in content:
                    row.answer = json.dumps(content["example"], indent=2, ensure_ascii=False)
        groups.setdefault(operation.get("tags", ["Other"])[0], []).append(row)
    return list(groups.items())


def _parameter(name: str, where: str, schema: dict[str, Any], required: bool, about: dict[str, Any]) -> dict[str, Any]:
    default = schema.get("default")
    return {
        "name": name,
        "where": where,
        "kind": _kind(schema),
        "required": required,
        "default": "" if default in (None, "") else json.dumps(default),
        "description": about.get("description", ""),
    }


def _kind(schema: dict[str, Any]) -> str:
    """A type in a word or two."""
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    if schema.get("format") == "binary":
        return "file"
    limits = [f"{word} {schema[name]:,}" for name, word in (("minimum", "from"), ("maximum", "to")) if name in schema]
    kind = str(schema.get("format") or schema.get("type") or schema.get("$ref", "").rsplit("/", 1)[-1])
    return " ".join([kind, *limits])
