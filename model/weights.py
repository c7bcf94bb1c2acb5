"""Files of weights: those that ship (:data:`SHIPPED`), and those that users train."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Self, TypeVar

import torch
from torch import nn

from core.data_folder import atomic_path
from core.errors import HarkError
from core.worded import worded
from model.plain import plain

SHIPPED = Path(__file__).parent / "shipped"


class StoredNetwork(nn.Module):
    """A network whose weights :func:`save_weights` writes."""

    @classmethod
    def of_config(cls, values: dict[str, Any]) -> Self:
        """Build it, untrained, from the JSON values of its ``config``; {} if it has none."""
        return cls()


Kind = TypeVar("Kind", bound=StoredNetwork)


def save_weights(model: StoredNetwork, path: Path, about: dict[str, Any], half: bool = False) -> None:
    """Write a model as safetensors, atomically; its header holds the configuration and ``about``.

    Args:
        half: store matrices in 16 bits.
    """
    from safetensors.torch import save_file

    tensors = {}
    for name, value in model.state_dict().items():
        value = value.detach().cpu().contiguous()
        tensors[name] = value.half() if half and value.dtype == torch.float32 and value.ndim > 1 else value
    config = plain(model.config) if hasattr(model, "config") else {}
    header = {"kind": type(model).__name__, "config": json.dumps(config), "about": json.dumps(about)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, header)


def load_weights(path: Path, kind: type[Kind]) -> tuple[Kind, dict[str, Any]]:
    """Load a file of :func:`save_weights`: the model (evaluation mode, 32-bit, on the CPU), and its ``about``.

    Raises:
        HarkError: the file is missing, damaged, or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            header = file.metadata() or {}
        if header["kind"] != kind.__name__:
            raise ValueError(f"it has the weights of a {header['kind']}, not of a {kind.__name__}")
        model = kind.of_config(json.loads(header.get("config", "{}")))
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
        return model.eval(), json.loads(header.get("about", "{}"))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise HarkError(
            worded("The weights %(name)s cannot be loaded.", name=path.name),
            f"{path}: {error}.",
            worded("Restore Hark's files (git checkout model/shipped), or train with --from-scratch."),
        ) from error


def weights_digest(model: torch.nn.Module) -> str:
    """Return twelve hexadecimal digits that depend on a model's weights."""
    digest = hashlib.sha256()
    for _, value in sorted(model.state_dict().items()):
        digest.update(value.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]
