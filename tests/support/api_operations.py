"""The operations of the API, as its schema lists them."""

from __future__ import annotations

from webui.api.views import _schema

SCHEMA = _schema()
OPERATIONS = [
    (path, method, operation) for path, methods in SCHEMA["paths"].items() for method, operation in methods.items()
]
CLOSED = [entry for entry in OPERATIONS if "security" in entry[2]]
OF_OWNER = [entry for entry in CLOSED if entry[2]["x-scopes"] == ["admin"]]
OF_ONE = [entry for entry in CLOSED if "{" in entry[0] and entry not in OF_OWNER]
HEARD = {
    "seconds": 1.0, "frame_s": 0.08, "threshold": 0.5, "silent": False, "peaks": [0.1],
    "detections": [{"time_s": 0.5, "score": 0.9}], "scores": [0.1],
}  # fmt: skip
