"""The shipped weights: pretrained backbones, the recognizer, and others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from core.data_folder import atomic_path
from core.errors import HarkError
from core.worded import worded
from model.asr.network import Recognizer, RecognizerConfig
from model.devices.micro_network import MicroNetwork, MicroShape
from model.large.phone_head import PhoneHead
from model.large.verifier import Verifier
from model.plain import from_plain, plain
from model.standard.backbone import EmbeddingBackbone, EmbeddingBackboneConfig

FOLDER = Path(__file__).parent / "shipped"
BACKBONE = "backbone-standard.safetensors"
MICRO_NETWORK = "micro-network.safetensors"
RECOGNIZER = "recognizer.safetensors"
HEAD = "encoder-head.safetensors"
VERIFIER = "verifier.safetensors"
AnyModel = EmbeddingBackbone | MicroNetwork | Recognizer | PhoneHead | Verifier
Kind = TypeVar("Kind", EmbeddingBackbone, MicroNetwork, Recognizer, PhoneHead, Verifier)
KINDS: dict[str, Callable[[dict[str, Any]], AnyModel]] = {
    "EmbeddingBackbone": lambda config: EmbeddingBackbone(from_plain(EmbeddingBackboneConfig, config)),
    "MicroNetwork": lambda config: MicroNetwork(from_plain(MicroShape, config)),
    "Recognizer": lambda config: Recognizer(from_plain(RecognizerConfig, config)),
    "PhoneHead": lambda config: PhoneHead(),
    "Verifier": lambda config: Verifier(),
}


def save_weights(model: AnyModel, path: Path, about: dict[str, Any], half: bool = False) -> None:
    """Write a model as safetensors, atomically; its header holds the configuration and ``about``.

    Args:
        half: store matrices in 16 bits.
    """
    from safetensors.torch import save_file

    tensors = {}
    for name, value in model.state_dict().items():
        value = value.detach().cpu().contiguous()
        tensors[name] = value.half() if half and value.dtype == torch.float32 and value.ndim > 1 else value
    config = {} if isinstance(model, PhoneHead | Verifier) else plain(model.config)
    header = {"kind": type(model).__name__, "config": json.dumps(config), "about": json.dumps(about)}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, header)


def load_weights(path: Path) -> tuple[AnyModel, dict[str, Any]]:
    """Load a file of :func:`save_weights`: the model (evaluation mode, 32-bit, on the CPU), and its ``about``.

    Raises:
        HarkError: the file is missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            header = file.metadata() or {}
        model = KINDS[header["kind"]](json.loads(header.get("config", "{}")))
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


def _shipped(file: str, kind: type[Kind]) -> Callable[[], tuple[Kind, dict[str, Any]]]:
    """Return the loader of a shipped model and its ``about``. It raises HarkError if the file is missing or damaged."""

    def shipped() -> tuple[Kind, dict[str, Any]]:
        model, about = load_weights(FOLDER / file)
        assert isinstance(model, kind)
        return model, about

    return shipped


shipped_head = _shipped(HEAD, PhoneHead)  # phone head on the encoder of large detectors
shipped_verifier = _shipped(VERIFIER, Verifier)  # verifier of large detectors
shipped_recognizer = _shipped(RECOGNIZER, Recognizer)
shipped_backbone = _shipped(BACKBONE, EmbeddingBackbone)  # backbone of standard detectors
shipped_micro_network = _shipped(MICRO_NETWORK, MicroNetwork)  # for microcontrollers, without a phrase yet
