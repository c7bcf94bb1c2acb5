"""Sessions of onnxruntime."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CPU = "CPUExecutionProvider"


def session(model: bytes | str | Path, threads: int = 1, providers: Sequence[str] = (CPU,), lean: bool = False) -> Any:
    """Load a model, given as bytes or as a file, into onnxruntime.

    Args:
        threads: threads per operator; operators run one after the other.
        providers: execution providers, the preferred one first (``model.gpu``).
        lean: release memory after each call, and do not spin while waiting; a few per cent slower.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if lean:
        options.enable_cpu_mem_arena = False
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    content = model if isinstance(model, bytes) else str(model)
    inference = onnxruntime.InferenceSession(content, options, providers=list(providers))
    if providers[0] not in inference.get_providers():  # onnxruntime skips one whose libraries it cannot load
        logging.getLogger(__name__).warning("%s cannot be used; the processor does its work", providers[0])
    return inference
