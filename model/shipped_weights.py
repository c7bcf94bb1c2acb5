"""The weights that ship with Hark: trunks that have heard real people, and the recognizer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from core.errors import HarkError
from model.asr.network import Recognizer, RecognizerConfig
from model.phone_head import PhoneHead
from model.trunk import Trunk, TrunkConfig

FOLDER = Path(__file__).parent / "shipped"
TRUNKS = {"standard": "trunk-standard.safetensors", "micro": "trunk-micro.safetensors"}
RECOGNIZER = "recognizer.safetensors"
HEAD = "encoder-head.safetensors"


def save_weights(model: Trunk | Recognizer, path: Path, about: dict[str, Any], half: bool = False) -> None:
    """Write a model as safetensors with its configuration and ``about`` (plain values) in the header."""
    from safetensors.torch import save_file

    tensors = {}
    for name, value in model.state_dict().items():
        value = value.detach().cpu().contiguous()
        tensors[name] = value.half() if half and value.dtype == torch.float32 and value.ndim > 1 else value
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"kind": type(model).__name__, "config": json.dumps(model.config.as_dict()), "about": json.dumps(about)}
    save_file(tensors, path, header)


def load_weights(path: Path) -> tuple[Trunk | Recognizer, dict[str, Any]]:
    """The model in a file of :func:`save_weights` (evaluation mode, 32-bit, on the CPU), and what is said about it.

    Raises:
        HarkError: the file is missing or damaged.
    """
    tensors, header = _read(path)
    try:
        config = json.loads(header["config"])
        model: Trunk | Recognizer
        if header["kind"] == "Trunk":
            model = Trunk(TrunkConfig.from_dict(config))
        else:
            model = Recognizer(RecognizerConfig.from_dict(config))
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in tensors.items()})
        return model.eval(), json.loads(header.get("about", "{}"))
    except (KeyError, ValueError, RuntimeError) as error:
        raise _damaged(path, error) from error


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Tensors and header of a safetensors file. Raises HarkError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            return tensors, file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> HarkError:
    return HarkError(
        f"The weights {path.name} cannot be loaded.",
        f"{path}: {error}.",
        "Get Hark's files again (git checkout model/shipped), or train with --from-scratch.",
    )


def save_head(head: PhoneHead, path: Path, about: dict[str, Any]) -> None:
    """Write the phone outputs of the encoder, in 16 bits, with ``about`` (plain values) in the header."""
    from safetensors.torch import save_file

    tensors = {name: value.detach().cpu().half().contiguous() for name, value in head.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"kind": "PhoneHead", "about": json.dumps(about)})


def load_head(path: Path = FOLDER / HEAD) -> tuple[PhoneHead, dict[str, Any]]:
    """The phone outputs in a file of :func:`save_head` (evaluation mode, 32-bit), and what is said about them.

    Raises:
        HarkError: the file is missing or damaged.
    """
    head = PhoneHead()
    tensors, header = _read(path)
    try:
        head.load_state_dict({name: value.float() for name, value in tensors.items()})
    except RuntimeError as error:
        raise _damaged(path, error) from error
    return head.eval(), json.loads(header.get("about", "{}"))


def shipped_recognizer() -> tuple[Recognizer, dict[str, Any]]:
    """The recognizer. Raises HarkError where its file is missing or damaged."""
    model, about = load_weights(FOLDER / RECOGNIZER)
    assert isinstance(model, Recognizer)
    return model, about


def shipped_trunk(size: str) -> tuple[Trunk, dict[str, Any]]:
    """The trunk of ``standard`` or ``micro`` detectors. Raises HarkError where its file is missing or damaged."""
    model, about = load_weights(FOLDER / TRUNKS[size])
    assert isinstance(model, Trunk)
    return model, about


def about_front_end(size: str) -> dict[str, Any]:
    """What is said about the shipped weights through which detectors of a size hear. Raises HarkError."""
    return shipped_trunk(size)[1] if size in TRUNKS else load_head()[1]
