"""What every other package may rely on: the error people meet, the data folder, reading and writing audio."""

import os

# From 1.31 on onnxruntime tells Microsoft how it is used. Whatever loads it does so after this package.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
