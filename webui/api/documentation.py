"""The schema of the API with examples everywhere."""

from __future__ import annotations

from typing import Any

from ninja.openapi.schema import OpenAPISchema

from webui.api.schemas import JOB_ID, Problem

NAMES = {"name": "model.onnx"}  # examples of path parameters
SESSION = {
    "type": "apiKey",
    "in": "cookie",
    "name": "sessionid",
    "description": "The session cookie of a signed-in browser.",
}


def file_of(kind: str) -> dict[str, Any]:
    """Return the documentation of a route that returns a file."""
    return {"responses": {200: {"content": {kind: {"schema": {"type": "string", "format": "binary"}}}}}}


def example_of(schema: dict[str, Any], known: dict[str, Any]) -> Any:
    """Return an example of a schema, built from its parts' examples; ``known`` are the named schemas."""
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


def complete(schema: OpenAPISchema) -> OpenAPISchema:
    """Add to each operation its examples, required scopes, and the form of its errors."""
    components = schema["components"]
    known = components["schemas"]
    described = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    known.update(described.pop("$defs", {}))
    known["Problem"] = described
    components.setdefault("securitySchemes", {})["Session"] = SESSION
    failure = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    failure["application/problem+json"]["example"] = example_of(described, known)
    for operation in [entry for methods in schema["paths"].values() for entry in methods.values()]:
        if operation.get("security"):
            operation["security"] = [{"Token": []}, {"Session": []}]
            operation["description"] += f"\n\nScope: {' or '.join(operation['x-scopes']) or 'any'}."
        for parameter in operation["parameters"]:
            if "example" not in parameter:
                named = NAMES.get(parameter["name"]) if parameter["in"] == "path" else None
                parameter["example"] = named or example_of(parameter["schema"], known)
            parameter.pop("examples", None)  # pydantic lists examples, which OpenAPI allows only in a schema
        for content in operation.get("requestBody", {}).get("content", {}).values():
            content["example"] = _sent_example(content["schema"], known)
        for status, response in operation["responses"].items():
            for kind, content in response.get("content", {}).items():
                if kind == "application/json" and str(status) != "default":
                    content["example"] = example_of(content["schema"], known)
        operation["responses"]["default"] = {"description": "What went wrong", "content": failure}
    return schema


def _sent_example(schema: dict[str, Any], known: dict[str, Any]) -> Any:
    """Return an example without fields that have defaults, unless the schema has its own example."""
    example = example_of(schema, known)
    definition = known[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema
    if "example" in definition or not isinstance(example, dict):
        return example
    required = definition.get("required", [])
    return {name: value for name, value in example.items() if name in required} or example
