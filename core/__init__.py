"""The foundation of every other package: the error that users see, the data folder, reading and writing audio."""

import os

# From 1.31 on onnxruntime reports usage to Microsoft. Everything that loads it imports this package first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
